"""The few names that a user imports, and what importing them costs."""

import subprocess
import sys

import pytest

import glidepath
import glidepath.extend


@pytest.mark.parametrize("name", glidepath.__all__)
def test_each_public_name_is_there(name):
    assert getattr(glidepath, name) is not None
    assert name in dir(glidepath)


@pytest.mark.parametrize("name", glidepath.extend.__all__)
def test_each_name_for_extensions_is_there(name):
    assert getattr(glidepath.extend, name) is not None


def test_public_names_are_those_of_their_packages():
    from glidepath.plans import flyscan
    from glidepath.session import Session

    assert glidepath.flyscan is flyscan
    assert glidepath.Session is Session


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'warp'"):
        glidepath.warp  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import glidepath", "numpy bluesky ophyd_async aioca tiled h5py"),
        ("from glidepath import Region, Trajectory", "bluesky aioca tiled"),
        ("from glidepath import flyscan", "tiled caproto matplotlib"),
    ],
)
def test_an_import_brings_no_more_than_it_needs(statement, unwanted):
    program = f"{statement}; import sys; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(found.stdout.split()).isdisjoint(unwanted.split())
