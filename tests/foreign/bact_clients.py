"""The classic ophyd classes of ``bact-bessyii-mls-ophyd``, unmodified, in stock plans."""

import sys

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
from bact_bessyii_mls_ophyd.devices.process.bpm_packed_data import (
    bit_gain_default,
    packed_data_to_named_array,
    raw_to_scaled_data,
)
from bact_bessyii_mls_ophyd.devices.utils.power_converter import (
    PowerConverter,
    ResettingPowerConverter,
)
from bact_bessyii_mls_ophyd.devices.utils.power_converters_as_multiplexer import (
    MultiplexerSetMixin,
    ScaledPowerConverter,
    SelectedPowerConverter,
)
from bluesky import RunEngine
from ophyd import Component, Device, EpicsSignalRO, Signal
from reporting import report, rows_of

prefix = sys.argv[1]
engine = RunEngine({})


class Steerers(Device):
    """Two steerers of the ring, as the collection that the package expects of its users."""

    hs = Component(ScaledPowerConverter, "HS4P1D4R")
    vs = Component(ScaledPowerConverter, "VS3P1D4R")


class Selection(MultiplexerSetMixin, Device):
    """Chooses one of them."""

    power_converters = Component(Steerers, "")
    power_converter_names = Component(Signal, value=["hs", "vs"])
    sel = Component(SelectedPowerConverter)


def power_converter():
    converter = PowerConverter(f"{prefix}HS4P1D3R", name="converter", timeout=20)
    converter.wait_for_connection(timeout=20)
    # Its own tolerance, 1e-9, is for those who set another one: no supply keeps it.
    converter.eps_abs.put(1e-3)
    rows = rows_of(engine, bp.scan([converter], converter, -0.2, 0.2, 3), "converter_readback")
    engine(bps.mv(converter, 0.0))
    return [round(row[0], 3) for row in rows]


def resetting_power_converter():
    converter = ResettingPowerConverter(f"{prefix}QSPAZR", name="converter")
    converter.wait_for_connection(timeout=20)
    engine(bps.mv(converter, 1.0))
    # The run engine stops what it has moved, and this class goes back then to where it was staged.
    converter.set_back.put(True)
    rows = rows_of(engine, bp.list_scan([converter], converter, [1.5, -1.5]), "converter_readback")
    engine(bps.sleep(2.0))
    back = converter.readback.get()
    converter.set_back.put(False)
    engine(bps.mv(converter, 0.0))
    return [round(row[0], 2) for row in rows], round(back, 3)


def scaled_power_converter():
    converter = ScaledPowerConverter(f"{prefix}HS4P1D4R", name="scaled")
    converter.wait_for_connection(timeout=20)
    converter.slope.put(0.5)
    engine(bps.mv(converter.p, 0.4))
    reached = converter.r.readback.get()
    engine(bps.mv(converter.p, 0.0))
    return round(reached, 2)


def selected_power_converter():
    selection = Selection(prefix, name="selection")
    selection.wait_for_connection(timeout=20)
    reached = []
    for name in ("hs", "vs"):
        engine(bps.mv(selection, name))
        engine(bps.mv(selection.sel, 0.1))
        steerer = getattr(selection.power_converters, name)
        reached.append(round(steerer.r.readback.get(), 2))
        engine(bps.mv(selection.sel, 0.0))
    return reached


def bpm_packed_data():
    packed = EpicsSignalRO(f"{prefix}MDIZ2T5G:bdata", name="packed")
    single = EpicsSignalRO(f"{prefix}BPMZD1Q4R:rdX", name="single")
    for signal in (packed, single):
        signal.wait_for_connection(timeout=20)
    number = 32
    parameters = np.zeros(
        number,
        dtype=[(name, float) for name in ("x_scale", "x_offset", "y_scale", "y_offset")]
        + [("idx", int)],
    )
    parameters["x_scale"] = parameters["y_scale"] = 1.0
    parameters["idx"] = np.arange(1, number + 1)
    # Not by packed_data_to_scaled, which hands on an argument that is not taken.
    raw = packed_data_to_named_array(
        packed.get(), indices=parameters["idx"] - 1, n_elements=packed.get().size
    )
    scaled = raw_to_scaled_data(raw, bpm_parameters=parameters, bit_gain=bit_gain_default)
    return float(scaled["x_pos"][0]), float(single.get())


report("PowerConverter", power_converter)
report("ResettingPowerConverter", resetting_power_converter)
report("ScaledPowerConverter", scaled_power_converter)
report("SelectedPowerConverter", selected_power_converter)
report("raw_to_scaled_data", bpm_packed_data)
