"""Whatever is raised, the user reads one sentence that says what and what to do."""

import asyncio
import errno

import pytest
from aioca import CANothing
from bluesky.utils import FailedStatus, RequestAbort
from ophyd_async.core import NotConnectedError

from glidepath.sentences import as_connection_error, as_sentence, reason_of, sentence_of


def caused(error, cause):
    error.__cause__ = cause
    return error


ERRORS = [
    (ValueError("start and stop must differ"), "start and stop must differ."),
    (ValueError("Give START; or --region.."), "Give START; or --region."),
    (KeyError("5"), "(KeyError: '5'); please report it."),
    (TypeError("'float' object is not iterable"), "(TypeError: 'float' object is not iterable)"),
    (AssertionError(), "(AssertionError); please report it."),
    (TimeoutError("ca://SIM:m1.RBV"), "ca://SIM:m1.RBV does not answer."),
    (TimeoutError(), "was not done in time"),
    (CANothing("SIM:m1", 192), "SIM:m1 does not answer: "),
    (OSError(errno.ENOSPC, "No space left on device", "/data/x.h5"), "disk is full (/data/x.h5)"),
    (OSError(errno.ENOLCK, "No locks available"), "HDF5_USE_FILE_LOCKING=FALSE"),
    (asyncio.CancelledError(), "ended before it was done."),
    (
        ExceptionGroup("two", [ValueError("the gap is too small"), KeyError("x")]),
        "gap is too small",
    ),
    (caused(FailedStatus("status"), ValueError("the axis is stuck")), "the axis is stuck."),
]


@pytest.mark.parametrize(("error", "said"), ERRORS, ids=lambda value: type(value).__name__)
def test_an_error_is_one_line_with_one_full_stop(error, said):
    sentence = sentence_of(error)
    assert said in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert not sentence.endswith("..")


def test_a_device_that_does_not_connect_names_its_pvs():
    tree = NotConnectedError(
        {
            "pgm": NotConnectedError(
                {"energy": NotConnectedError("ca://X:PGM:E"), "cff": TimeoutError("ca://X:PGM:C")}
            )
        }
    )
    assert sentence_of(tree) == (
        "X:PGM:E, X:PGM:C do not answer; check that the IOC runs and that EPICS_CA_ADDR_LIST "
        "names its address."
    )


def test_what_glidepath_did_not_expect_says_where_it_was_raised():
    from glidepath.cli.scan_arguments import names_in

    with pytest.raises(AttributeError) as caught:
        names_in(5)
    assert "in cli/scan_arguments.py, line" in sentence_of(caught.value)


def test_what_a_user_did_is_a_reason_and_no_error():
    assert reason_of(RequestAbort()) == "aborted by the user"
    assert reason_of(caused(FailedStatus(), RequestAbort())) == "aborted by the user"


def test_a_silent_server_is_a_connection_error_and_other_errors_stay_what_they_are():
    said = "The scan cannot begin: SIM:m1 does not answer"
    with pytest.raises(ConnectionError, match=said), as_connection_error("The scan cannot begin: "):
        raise CANothing("SIM:m1", 192)
    with pytest.raises(ValueError, match="too fast"), as_connection_error():
        raise ValueError("this is too fast")


@pytest.mark.parametrize("text", ["done", "done.", "done..", "done; ", " do\nne ."])
def test_a_sentence_ends_once(text):
    assert as_sentence(text) in ("done.", "do ne.")
