"""What pyproject.toml can say only in a form that setuptools may still change: compiled code."""

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel


class AnyPythonWheel(bdist_wheel):
    """One wheel of a platform for all Pythons: the compiled part uses no Python header."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return tags of Python, of its binary interface and of the platform."""
        *_, platform = super().get_tag()
        return "py3", "none", platform


setup(
    cmdclass={"bdist_wheel": AnyPythonWheel},
    ext_modules=[
        # Not an extension module of Python: a plain library, which monitors/inbox.py loads.
        # Without a C compiler the installation goes on; monitors are then received in Python.
        Extension(
            "glidepath.flyers.monitors._inbox",
            ["src/glidepath/flyers/monitors/inbox.c"],
            optional=True,
            # For the name of the file, by which every Python finds it.
            py_limited_api=True,
        )
    ],
)
