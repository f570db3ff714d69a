"""A soak of seconds: it counts what it should, and nothing is left of a run in the next one."""

import shutil

import pytest
from benchmarks.soak import draw, soak, summary

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))),
    reason="the load server is compiled",
)
def test_a_run_holds_no_more_than_the_one_before(tmp_path):
    result = soak(
        120.0, 1000.0, channels=3, run_seconds=2.0, report_seconds=0.4, runs=3, folder=tmp_path
    )

    assert not list(tmp_path.iterdir())
    assert len(result["runs"]) == 3
    for run in result["runs"]:
        # How many the server drops is a matter of how busy the machine of a test is.
        assert run["lost"] < 0.5 * run["updates"]
        assert run["published"]
    updates = sum(run["updates"] for run in result["runs"])
    assert updates == result["summary"]["updates"]
    assert updates > 1000
    # The connection to Tiled comes and goes within a run, and may be made late in the first one.
    for key in ("client_handles", "client_threads", "python_threads", "tasks"):
        most = {
            run: max(sample[key] for sample in result["samples"] if sample["run"] == run)
            for run in (1, 2)
        }
        assert most[2] <= most[1], key
    draw(result, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 10_000


def test_the_summary_compares_the_end_with_the_time_after_the_beginning():
    samples = [
        {"time_s": 10.0 * k, "client_memory_MB": 300.0 + (k > 10) + 0.01 * k, "tasks": 5}
        for k in range(1, 101)
    ]
    runs = [{"updates": 7, "lost": 1, "late": 2, "published": True}] * 2

    found = summary({"samples": samples, "runs": runs})

    assert found["tasks"] == {"early": 5, "late": 5, "largest": 5, "per_hour": pytest.approx(0)}
    assert found["client_memory_MB"]["per_hour"] == pytest.approx(3.6)
    assert found["client_memory_MB"]["late"] - found["client_memory_MB"]["early"] == pytest.approx(
        0.5, abs=0.05
    )
    assert (found["updates"], found["lost"], found["late_updates"]) == (14, 2, 4)
