"""Regions and passes in one run: rows, numbers, joins, and the time that it takes."""

import numpy as np
import pytest

from glidepath.physics import fit_series
from glidepath.plans import flyscan, xas_flyscan
from glidepath.timeline import Channel, ChannelKind, rebin_windows
from glidepath.trajectory import Trajectory

THREE = [(399.0, 400.5, 2.0), (400.5, 402.0, 0.5), (402.0, 404.0, 1.0, 0.2)]


def part(table, region, pass_number=1):
    return (table["region_number"] == region) & (table["pass_number"] == pass_number)


@pytest.mark.parametrize("axis", ["energy", "mono_motor"])
def test_each_region_is_flown_at_its_own_velocity_and_nothing_is_lost_at_the_joins(simulated, axis):
    s = simulated
    s.run_engine(xas_flyscan([s.mesh, s.sample], getattr(s, axis), THREE, period=0.1))
    run = s.run()
    table = run.primary
    assert run.stop["exit_status"] == "success"
    assert np.all(np.diff(table["sample_time"]) > 0)
    for number, (start, stop, velocity, *own) in enumerate(THREE, start=1):
        row = own[0] if own else 0.1
        mine = part(table, number)
        low, high = table[f"{axis}_lower"][mine], table[f"{axis}_upper"][mine]
        assert np.all(low >= start)
        assert np.all(high <= stop)
        assert table["sample_duration"][mine] == pytest.approx(row, abs=1e-5)
        # Rows follow each other; what is left out at the ends is shorter than a row.
        assert np.all(np.abs(low[1:] - high[:-1]) < 0.004)
        assert low[0] - start < velocity * row + 0.004
        assert stop - high[-1] < velocity * row + 0.004
        flown = np.polyfit(table["sample_time"][mine], table[axis][mine], 1)[0]
        assert flown == pytest.approx(velocity, rel=0.02)
    assert len(table[axis]) == run.stop["num_events"]["primary"]
    assert run.start["plan_name"] == "xas_flyscan"
    assert run.start["plan_args"]["regions"][2] == {
        "start": 402.0, "stop": 404.0, "velocity": 1.0, "period": 0.2,
    }  # fmt: skip


def test_passes_there_and_back_see_the_line_at_the_same_energy(simulated):
    s = simulated
    s.run_engine(
        flyscan(
            [s.mesh, s.sample], s.energy, 400.2, 402.6, 1.0,
            period=0.04, passes=3, there_and_back=True,
        )
    )  # fmt: skip
    run = s.run()
    table = run.primary
    lines = []
    for number in (1, 2, 3):
        mine = part(table, 1, number)
        assert np.all(np.sign(np.diff(table["energy"][mine])) == (-1) ** (number + 1))
        signal = table["sample"][mine] / table["mesh"][mine]
        lines.append(fit_series(table["energy"][mine], signal).first_line)
    assert np.ptp(lines) < 0.01
    assert set(table["pass_number"]) == {1, 2, 3}


def test_the_raw_streams_give_the_rows_of_every_pass_again(simulated):
    s = simulated
    trajectory = Trajectory.of([(400.0, 401.0, 1.0), (401.0, 402.0, 2.0)], passes=2)
    s.run_engine(xas_flyscan([s.mesh], s.energy, trajectory, period=0.1))
    run = s.run()
    table = run.primary
    half = table["sample_duration"] / 2
    streams = {
        Channel("energy", ChannelKind.READBACK): run.raw["energy"],
        Channel("mesh", ChannelKind.DETECTOR, aperture=0.1): run.raw["mesh"],
    }
    again = rebin_windows(
        {channel: (raw["time"], raw["value"]) for channel, raw in streams.items()},
        "energy",
        table["sample_time"] - half,
        table["sample_time"] + half,
    )
    for name in ("energy", "energy_lower", "energy_upper", "mesh"):
        np.testing.assert_allclose(again[name], table[name], rtol=1e-9)


def test_a_region_that_cannot_be_flown_is_named_and_nothing_moves(simulated):
    s = simulated
    before = s.get(s.pgm.setpoint)
    with pytest.raises(ValueError, match="its highest velocity is"):
        s.run_engine(xas_flyscan([s.mesh], s.energy, [(400, 401, 1), (401, 402, 1e3)]))
    with pytest.raises(ValueError, match="is no region"):
        s.run_engine(xas_flyscan([s.mesh], s.energy, [(400, 401)]))
    assert s.documents == []
    assert s.get(s.pgm.setpoint) == before
