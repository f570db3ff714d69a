"""Every example in the docstrings of the package runs and prints what it says."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import glidepath.trajectory

MODULES = [name for _, name, _ in pkgutil.iter_modules(glidepath.trajectory.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name):
    module = importlib.import_module(f"glidepath.trajectory.{name}")
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", sorted(glidepath.trajectory.__all__))
def test_every_public_class_has_an_example(name):
    thing = getattr(glidepath.trajectory, name)
    if inspect.isclass(thing) and not issubclass(thing, Exception):
        assert ">>>" in (thing.__doc__ or "")
