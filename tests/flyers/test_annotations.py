"""What rows are marked with that were taken while a setting was changed by hand."""

import numpy as np
import pytest

from glidepath.flyers.sampling.annotations import Annotations, Setting
from glidepath.timeline import Quality


@pytest.mark.parametrize(
    ("changed_at", "marked"),
    [
        # In mid exposure, and while the reading of the exposure before is still being made.
        (10.25, [False, True, True, True]),
        (10.205, [False, True, True, True]),
        (10.41, [False, False, False, True]),
        (np.inf, [False, False, False, False]),
    ],
)
def test_a_change_marks_the_row_before_it_too_for_its_reading_may_have_come_later(
    changed_at, marked
):
    setting = Setting("ca://averaging", ["mesh"])
    setting.look(np.array([5.0]), np.array([1.0]))
    if np.isfinite(changed_at):
        setting.look(np.array([changed_at]), np.array([10.0]))
    ends = np.array([10.1, 10.2, 10.3, 10.4])
    rows = {
        "sample_time": ends - 0.05,
        "sample_duration": np.full(4, 0.1),
        "quality": np.zeros(4, np.uint16),
    }
    Annotations([], [setting], []).annotate(rows)
    assert ((rows["quality"] & Quality.CHANGED) != 0).tolist() == marked
