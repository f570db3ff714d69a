"""The compiled validators refuse exactly what event-model refuses, with its own error."""

import copy
from collections import UserDict
from datetime import date
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Any
from uuid import UUID

import event_model
import jsonschema
import numpy as np
import pytest
from event_model import DocumentNames, compose_run, compose_stream_resource
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.storage import column_key
from glidepath.storage.validation import COMPILED, CompiledFirst, compile_validators


class Choice(Enum):
    A = "a"


class Mark(StrEnum):
    A = "a"


class Text(str):
    __slots__ = ()


def documents() -> list[tuple[DocumentNames, dict[str, Any]]]:
    """A document of every kind that a scan makes, with most of what can be in it."""
    run = compose_run(
        metadata={
            "scan_id": 1,
            "plan_args": {"velocity": 0.5},
            "hints": {"dimensions": [(["energy"], "primary")]},
            "data_groups": ["x"],
        }
    )
    limits = {"control": {"low": 0.0, "high": None}}
    stream = run.compose_descriptor(
        "primary",
        {
            "energy": column_key("ca://SIM:x", "eV", precision=3, limits=limits),
            "quality": column_key("glidepath", dtype="<u2"),
        },
        hints={"fields": ["energy"]},
        configuration={
            "energy": {
                "data": {"energy_kind": "readback"},
                "timestamps": {"energy_kind": 1.0},
                "data_keys": {"energy_kind": {"source": "x", "dtype": "string", "shape": []}},
            }
        },
        object_keys={"energy": ["energy", "quality"]},
    )
    resource = compose_stream_resource(
        mimetype="application/x-hdf5",
        uri="file://localhost/x.h5",
        data_key="energy",
        parameters={"dataset": "/entry/data/energy", "chunk_shape": [1000]},
        start=run.start_doc,
    )
    datum = resource.compose_stream_datum({"start": 0, "stop": 5}, descriptor=stream.descriptor_doc)
    return [
        (DocumentNames.start, run.start_doc),
        (DocumentNames.descriptor, stream.descriptor_doc),
        (DocumentNames.stream_resource, resource.stream_resource_doc),
        (DocumentNames.stream_datum, datum),
        (DocumentNames.stop, run.compose_stop()),
    ]


SAMPLES = documents()

TEXTS = st.sampled_from(["", "a", "a\n", "STREAM:", "NX_a\n", "a.b", "a/b", "é", "\ud800"])
SCALARS = st.one_of(
    TEXTS,
    TEXTS.map(Text),
    st.integers(-2, 2),
    st.sampled_from([10**30, 1.0, 0.5, np.nan, np.inf, np.float64(2), np.int64(2), None, True]),
    st.sampled_from([Choice.A, Mark.A, Decimal(1), Fraction(1), UUID(int=1), date.min, 1j, ...]),
    st.sampled_from([b"a", bytearray(b"a"), np.array([1.0, 2.0]), np.array(1), {1}, object()]),
)
NAMES = ["source", "limits", "NX_class", 3, Choice.A, Mark.A, Text("x")]
KEYS = st.one_of(TEXTS, st.sampled_from(NAMES))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.tuples(inner),
        st.dictionaries(KEYS, inner, max_size=2),
        st.dictionaries(TEXTS, inner, max_size=2).map(UserDict),
    ),
    max_leaves=4,
)


def places(document: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a document."""
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        found += [(document, key) for key in document]
    if isinstance(document, list):
        found += [(document, k) for k in range(len(document))]
    for container, key in list(found):
        found += places(container[key])
    return found


@st.composite
def changed(draw: st.DrawFn) -> tuple[DocumentNames, Any]:
    """A valid document with up to three changes, most of which make it invalid."""
    name, document = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(0, 3))):
        container, key = draw(st.sampled_from(places(document)))
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            container[key] = draw(VALUES)
        elif change == "add" and isinstance(container, dict):
            container[draw(KEYS)] = draw(VALUES)
        elif len(document) > 1:
            del container[key]
    return name, document


def error_of(validator: Any, document: Any) -> tuple[str, str] | None:
    try:
        validator.validate(document)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


@settings(derandomize=True, database=None, deadline=None, max_examples=800)
@given(changed())
def test_every_document_gets_the_verdict_and_the_error_of_event_model(example):
    name, document = example
    original = event_model._Validator(schema=event_model.schemas[name])
    assert error_of(CompiledFirst(original), document) == error_of(original, document)


def test_there_is_a_sample_of_every_kind_that_is_compiled():
    assert tuple(name for name, _ in SAMPLES) == COMPILED


def test_what_is_valid_is_not_validated_twice():
    for name, document in SAMPLES:
        original = event_model._Validator(schema=event_model.schemas[name])
        validator = CompiledFirst(original)
        validator._original = None
        validator.validate(document)


def test_the_run_engine_s_documents_are_checked_by_the_compiled_validators(monkeypatch):
    monkeypatch.setattr(event_model, "schema_validators", dict(event_model.schema_validators))
    compile_validators()
    with pytest.raises(jsonschema.ValidationError, match="'dtype' is a required property"):
        compose_run().compose_descriptor("primary", {"energy": {"source": "x", "shape": []}})


def test_compiling_again_changes_nothing_and_the_rest_of_a_validator_is_there(monkeypatch):
    monkeypatch.setattr(event_model, "schema_validators", dict(event_model.schema_validators))
    compile_validators()
    first = dict(event_model.schema_validators)
    compile_validators()
    assert event_model.schema_validators == first
    validator = event_model.schema_validators[DocumentNames.stop]
    assert validator.is_valid({}) is False
    assert validator.schema is event_model.schemas[DocumentNames.stop]
