"""What leans on private or movable parts of other packages, in one list.

A new minor release of one of them may rename any of these. Then this test fails with a sentence
that names the part and the module of ours that uses it. Our modules are read, not imported: only
what is listed is imported, so that this takes seconds.
"""

from importlib import import_module
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[1] / "src" / "glidepath"
WRITER = "bluesky_tiled_plugins.writing.tiled_writer:_RunWriter"
PARTS = [
    # Ours, theirs ("module:path"), for what
    ("catalog.feed", WRITER, "writes one run"),
    ("catalog.feed", f"{WRITER}._write_external_data", "columns, where the server has no router"),
    ("catalog.feed", f"{WRITER}._write_internal_data", "events, when a flush is due"),
    ("catalog.feed", f"{WRITER}._close_stream_tree", "the end of a run"),
    (
        "catalog.feed",
        "bluesky_tiled_plugins.writing.consolidators:consolidator_factory",
        "describes columns to the server",
    ),
    (
        "catalog.consolidator",
        "bluesky_tiled_plugins.writing.consolidators:CONSOLIDATOR_REGISTRY",
        "where the lean consolidator registers",
    ),
    (
        "catalog.consolidator",
        "bluesky_tiled_plugins.writing.consolidators:HDF5Consolidator.consume_stream_datum",
        "what the lean consolidator replaces",
    ),
    (
        "catalog.run_catalog",
        "bluesky_tiled_plugins.clients.catalog_of_bluesky_runs:CatalogOfBlueskyRuns.is_sql",
        "queries by scan number and beginning of a uid",
    ),
    (
        "catalog.server_configuration",
        "bluesky_tiled_plugins.exporters:json_seq_exporter",
        "documents of a run",
    ),
    ("catalog.adapter", "tiled.adapters.hdf5:HDF5ArrayAdapter", "reads columns"),
    ("catalog.adapter", "tiled.adapters.hdf5:h5open", "opens files that grow"),
    ("catalog.adapter", "tiled.adapters.utils:DataNotReadyError", "rows that are not there yet"),
    ("catalog.connection", "tiled.client.utils:TILED_RETRY_ATTEMPTS", "bounds of retries"),
    ("catalog.connection", "tiled.client.utils:TILED_RETRY_TIMEOUT", "bounds of retries"),
    ("catalog.router", "tiled.server.dependencies:get_entry", "finds a run"),
    ("catalog.router", "tiled.server.authentication:check_scopes", "who may write"),
    ("catalog.router", "tiled.stream_messages:ArrayPatch", "news of a column"),
    (
        "catalog.router",
        "tiled.catalog.adapter:CatalogNodeAdapter.lookup_adapter",
        "finds a stream of a run",
    ),
    (
        "catalog.router",
        "tiled.catalog.adapter:CatalogContainerAdapter.create_node",
        "makes a column",
    ),
    ("catalog.server_process", "tiled.server.app:build_app_from_config", "the server"),
    ("catalog.database", "tiled.catalog.core:initialize_database", "a new database"),
    ("catalog.database", "tiled.alembic_utils:stamp_head", "a new database"),
    (
        "catalog.database",
        "tiled.catalog.alembic_constants:ALEMBIC_INI_TEMPLATE_PATH",
        "a new database",
    ),
    ("catalog.tiled_paths", "tiled.utils:ensure_uri", "folders with unusual names"),
    ("catalog.tiled_paths", "tiled.utils:path_from_uri", "folders with unusual names"),
    ("catalog.tiled_paths", "tiled.utils:SCHEME_PATTERN", "folders with unusual names"),
    ("storage.validation", "event_model:schema_validators", "validates documents"),
    ("flyers.monitors.portable", "aioca:camonitor", "updates of channels"),
    ("flyers.monitors.receive_threads", "epicscorelibs.ca:cadef", "updates of channels"),
    ("session.session", "aioca:purge_channel_caches", "closes channels"),
]


def part(theirs: str):
    module, _, path = theirs.partition(":")
    found = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("ours", "theirs", "purpose"), PARTS, ids=[p[1] for p in PARTS])
def test_what_we_lean_on_is_there(ours, theirs, purpose):
    name = theirs.rpartition(":")[2].rpartition(".")[2]
    source = SOURCE.joinpath(*ours.split(".")).with_suffix(".py").read_text()
    assert name in source, f"glidepath.{ours} does not use {theirs} any more; take it off the list."
    try:
        part(theirs)
    except (ImportError, AttributeError) as error:
        pytest.fail(
            f"{theirs} is gone ({error}): glidepath.{ours} uses it ({purpose}); find what took "
            "its place, or pin the release before."
        )


def test_the_run_writer_keeps_what_we_reach_into():
    """Its instances hold these, without a name on the class."""
    writer = part(WRITER)(None)
    wanted = {
        "_desc_nodes": dict,
        "_stream_resource_cache": dict,
        "_internal_data_cache": dict,
        "notes": list,
    }
    gone = [name for name, kind in wanted.items() if not isinstance(getattr(writer, name, 0), kind)]
    assert not gone, f"{WRITER} has no {gone} any more; glidepath.catalog.feed reaches into them."


def test_a_lean_consolidator_finds_the_counts_that_it_keeps():
    from bluesky_tiled_plugins.writing.consolidators import HDF5Consolidator

    from glidepath.storage import HDF5_MIMETYPE

    resource = {
        "uid": "r",
        "data_key": "x",
        "mimetype": HDF5_MIMETYPE,
        "uri": "file://localhost/x.h5",
        "parameters": {"dataset": "/x", "chunk_shape": [1]},
    }
    key = {"source": "s", "dtype": "number", "dtype_numpy": "<f8", "shape": [], "external": "S:"}
    consolidator = HDF5Consolidator(resource, {"data_keys": {"x": key}})
    assert consolidator._num_rows == 0, "HDF5Consolidator counts its rows elsewhere now."
