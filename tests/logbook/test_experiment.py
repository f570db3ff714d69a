"""An experiment is checked when it is set, kept across sessions, and in every start document."""

import json

import pytest
from event_model import DocumentNames, compose_run, schema_validators

from glidepath.logbook import MODES, Experiment, ExperimentError, Proposal, Sample, User
from glidepath.logbook.experiment import KEYS

FULL = Experiment(
    facility="BESSY II",
    beamline="UE48",
    instrument="UE48-PGM",
    end_station="gas cell",
    proposal={
        "number": "242-12345",
        "title": "Nitrogen",
        "type": "regular",
        "principal_investigator": "A. Müller",
    },
    investigation="icat:4711",
    instrument_session="cm12345-1",
    data_session="pass-312345",
    access_tags=["pass-312345"],
    users=[
        {"name": "A. Müller", "orcid": "0000-0002-1825-0097", "role": "principal investigator"},
        {"name": "B. Chen", "affiliation": "HZB", "identifier": "bchen"},
    ],
    sample={"name": "N2 gas cell", "identifier": "S-7", "formula": "N2"},
    element="N",
    edge="K",
    mode="Total Electron Yield",
    technique="NEXAFS",
)


def test_start_document_has_the_keys_of_the_facilities():
    start = FULL.to_start_document()
    assert start["proposal"] == {
        "proposal_id": "242-12345",
        "title": "Nitrogen",
        "type": "regular",
        "pi_name": "A. Müller",
    }
    assert start["investigation_id"] == "icat:4711"
    assert start["investigation_title"] == "Nitrogen"
    assert start["user_name"] == "A. Müller"
    assert start["data_session"] == "pass-312345"
    assert start["tiled_access_tags"] == ["pass-312345"]
    assert start["instrument_session"] == "cm12345-1"
    assert start["users"][1] == {"name": "B. Chen", "affiliation": "HZB", "identifier": "bchen"}
    assert start["sample"] == {"name": "N2 gas cell", "sample_id": "S-7", "chemical_formula": "N2"}
    assert (start["element"], start["edge"], start["mode"]) == ("N", "K", "tey")
    assert start["technique"]["pid"] == "PaNET01199"
    assert set(start) <= KEYS


def test_start_document_is_one_of_bluesky():
    document = dict(compose_run(metadata=FULL.to_start_document()).start_doc)
    schema_validators[DocumentNames.start].validate(json.loads(json.dumps(document)))


def test_unknown_is_left_out():
    assert set(Experiment().to_start_document()) == {"technique"}


@pytest.mark.parametrize(
    "orcid",
    [
        "0000-0002-1825-0097",
        "0000-0002-1694-233X",
        "https://orcid.org/0000-0001-5109-3700",
    ],
)
def test_orcid_that_is_right(orcid):
    assert User("X", orcid).orcid == orcid[-19:]


@pytest.mark.parametrize(
    "wrong",
    [
        "0000-0002-1825-0098",  # last digit
        "0000-0002-1852-0097",  # two digits exchanged
        "0000-0002-1694-2331",  # X is not a 1
        "0000-0002-1825-009",
        "0000000218250097",
        "https://example.org/0000-0002-1825-0097",
    ],
)
def test_orcid_that_is_wrong_is_refused(wrong):
    with pytest.raises(ExperimentError, match="ORCID"):
        User("X", wrong)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"element": "Nn"}, "no chemical element"),
        ({"element": ""}, "needs an element"),
        ({"element": "He", "edge": "L3"}, "He has no edge L3; it has K"),
        ({"element": "Fe", "edge": "L4"}, "no absorption edge"),
        ({"mode": "yield"}, "no mode"),
        ({"technique": "PX"}, "no technique"),
        ({"sample": {"name": "rust", "formula": "Fe2O3("}}, "no chemical formula"),
        ({"sample": {"name": "rust", "fromula": "Fe2O3"}}, "has no 'fromula'"),
        ({"sample": {"formula": "Fe2O3"}}, "needs a name"),
        ({"sample": 3.0}, "is no sample"),
        ({"users": [{"orcid": "0000-0002-1825-0097"}]}, "needs a name"),
        ({"users": 3}, "list of names"),
        ({"facility": "BESSY\nII"}, "one line of text"),
        ({"facility": None}, "one line of text"),
        ({"data_session": "pass 1"}, "cannot be the data session"),
        ({"access_tags": [""]}, "no access tag"),
        ({"smaple": "N2"}, "has no 'smaple'"),
        ({"more": {"sample": "N2"}}, "field of its own"),
        ({"more": {"x": {1, 2}}}, "texts, numbers"),
    ],
)
def test_mistake_is_one_sentence(fields, said):
    with pytest.raises(ExperimentError, match=said) as caught:
        FULL.changed(**fields)
    assert "\n" not in str(caught.value).replace(repr(fields.get("facility")), "")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("formula", "atoms"),
    [
        ("N2", {"N": 2}),
        ("Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}),
        ("CuSO4·5H2O", {"Cu": 1, "S": 1, "O": 9, "H": 10}),
        ("K4[Fe(CN)6]", {"K": 4, "Fe": 1, "C": 6, "N": 6}),
        ("La0.7Sr0.3MnO3", {"La": 0.7, "Sr": 0.3, "Mn": 1, "O": 3}),
    ],
)
def test_formula_is_understood(formula, atoms):
    from glidepath.physics import atoms_of

    assert atoms_of(formula) == pytest.approx(atoms)
    assert Sample("x", formula=formula).formula == formula


@pytest.mark.parametrize("formula", ["Xx2", "Fe2O3)", "(Fe", "[Fe)", "fe2o3", "2", "Fe--"])
def test_formula_that_is_none_is_refused(formula):
    with pytest.raises(ExperimentError, match="no chemical formula"):
        Sample("x", formula=formula)


def test_names_alone_are_enough():
    here = Experiment(sample="N2 gas cell", users=["A", "B"], proposal=242)
    assert here.sample == Sample("N2 gas cell")
    assert here.users == (User("A"), User("B"))
    assert here.proposal == Proposal("242")


def test_every_mode_is_known_by_both_names():
    for short, full in MODES.items():
        assert Experiment(mode=full).mode == Experiment(mode=short.upper()).mode == short


def test_kept_in_the_data_directory(tmp_path):
    assert Experiment.load(tmp_path) == Experiment()
    FULL.save(tmp_path)
    assert Experiment.load(tmp_path) == FULL
    assert [path.name for path in tmp_path.iterdir()] == ["experiment.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"smaple": "N2"}', '{"element": "Xx"}'])
def test_file_that_is_damaged_is_a_sentence(tmp_path, text):
    (tmp_path / "experiment.json").write_text(text)
    with pytest.raises(ExperimentError):
        Experiment.load(tmp_path)


def test_what_is_no_longer_said_leaves_the_run_engine():
    metadata = {"scan_id": 7, "note": "stays"}
    FULL.describe_in(metadata)
    assert metadata["sample"]["name"] == "N2 gas cell"
    FULL.changed(sample=None, element="", edge="").describe_in(metadata)
    assert "sample" not in metadata
    assert "edge" not in metadata
    assert metadata["note"] == "stays"
