"""What an extension implements, and how it is registered.

An extension is a package of its own, or a beamline's module. It implements one of the protocols
here and registers for a class of devices, with the decorators here when it is imported; an
installed package names its module in the group of entry points of the same kind, and needs no
import anywhere:

======================  ==============================  ==========================
to bring                implement                       group of entry points
======================  ==============================  ==========================
a sampled detector      `SampledChannel`, `Channel`     ``glidepath.channels``
a motion                `BackEnd`                       ``glidepath.back_ends``
a trigger box           `TriggerSource`                 ``glidepath.trigger_sources``
a triggered detector    `FrameSource`                   ``glidepath.frame_sources``
======================  ==============================  ==========================
"""

from glidepath.detectors import (
    EndsWithNext,
    FrameFile,
    Frames,
    FrameSettings,
    FrameSource,
    MakesSeveralFrames,
    TriggerMode,
    check_timing,
    frame_source_for,
    no_frames,
    register_frame_source,
)
from glidepath.devices.positioning import ControllerMove, MotionError, Pace
from glidepath.devices.sampled import (
    BeginsSampling,
    Derived,
    Sampled,
    SampledChannel,
    WithDerived,
    WithExposure,
    WithMarks,
    channels_for,
    register_channels,
    sampled,
)
from glidepath.devices.settings import SettingError, Settings
from glidepath.devices.signals import tell
from glidepath.flyers import (
    BackEnd,
    CapturedTriggers,
    FlightError,
    TriggerError,
    TriggerPlan,
    Triggers,
    TriggerSource,
    make_trigger_source,
)
from glidepath.flyers.motion.back_end import MotionPlan
from glidepath.flyers.motion.back_ends import back_end_for
from glidepath.flyers.motion.follower import MotionFollower
from glidepath.flyers.triggers.exposure import with_exposure
from glidepath.timeline import Channel, ChannelKind, Mark
from glidepath.trajectory import Envelope, Leg, Motion, PreflightError

__all__ = [
    "BackEnd",
    "BeginsSampling",
    "CapturedTriggers",
    "Channel",
    "ChannelKind",
    "ControllerMove",
    "Derived",
    "EndsWithNext",
    "Envelope",
    "FlightError",
    "FrameFile",
    "FrameSettings",
    "FrameSource",
    "Frames",
    "Leg",
    "MakesSeveralFrames",
    "Mark",
    "Motion",
    "MotionError",
    "MotionFollower",
    "MotionPlan",
    "Pace",
    "PreflightError",
    "Sampled",
    "SampledChannel",
    "SettingError",
    "Settings",
    "TriggerError",
    "TriggerMode",
    "TriggerPlan",
    "TriggerSource",
    "Triggers",
    "WithDerived",
    "WithExposure",
    "WithMarks",
    "back_end_for",
    "channels_for",
    "check_timing",
    "frame_source_for",
    "make_trigger_source",
    "no_frames",
    "register_channels",
    "register_frame_source",
    "sampled",
    "tell",
    "with_exposure",
]
