"""What pyproject.toml can say only in a form that setuptools may still change: compiled code."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        # Not an extension module of Python: a plain library, which monitors/inbox.py loads.
        # Without a C compiler the installation goes on; monitors are then received in Python.
        Extension(
            "glidepath.flyers.monitors._inbox",
            ["src/glidepath/flyers/monitors/inbox.c"],
            optional=True,
        )
    ]
)
