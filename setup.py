"""What pyproject.toml can say only in a form that setuptools may still change: compiled code."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Not an extension module of Python: a plain library, which flyers/inbox.py loads. Without
        # a C compiler the installation goes on, and Glidepath receives monitors in Python.
        Extension("glidepath.flyers._inbox", ["src/glidepath/flyers/inbox.c"], optional=True)
    ]
)
