"""Which examples the trial model learns from and which judge it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recjobs.rank.train.examples import Examples, held_out_fold
from recjobs.rank.train.outcomes import NEVER

_SMALLEST_SHARE = 0.25


@dataclass(frozen=True)
class Split:
    """How outcomes are divided for the trial model.

    The trial learns, from users of the other folds, outcomes until `boundary` (Unix second, inclusive). Its blend is
    judged on outcomes after it; its calibration is learnt from held-out users' outcomes until it, so that both
    cover the same length of time. With several label windows the last one is held out whole, and the trial learns
    nothing of it. Where there is one and its outcomes hardly differ in time, `by_time` is false: then the held-out
    users' outcomes judge the blend too.
    """

    boundary: int
    by_time: bool
    learnt: npt.NDArray[np.bool_]
    calibrates: npt.NDArray[np.bool_]
    judges: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.bool_]
    """bool[P, T]: the outcomes the trial may know of."""
    judged_labels: npt.NDArray[np.bool_]
    """bool[P, T]: the outcomes it is judged on, at `judges`."""

    def describe(self) -> str:
        """One sentence for the manifest."""
        if self.by_time:
            return f"blend chosen on the outcomes after second {self.boundary}"
        return "outcomes can't be divided by time (too few instants): blend chosen on held-out users instead"


def split_examples(examples: Examples, share: float) -> Split:
    """Holds out the last label window, or of the only one the latest `share` of the pairs' first outcomes; and users
    by their fold.

    A judged pair had no outcome until the boundary: what the trial has learnt of it is no question to it.
    """
    earliest, held = examples.earliest, held_out_fold(examples, share)
    several = not examples.latest.all()
    boundary, by_time = _before_last_window(examples) if several else _before_latest(earliest, share)
    known = ~examples.latest if several else np.ones(len(examples), np.bool_)
    labels = examples.first <= boundary
    return Split(
        boundary=boundary,
        by_time=by_time,
        learnt=known & ~held & (examples.weight > 0),
        calibrates=known & held & (examples.weight > 0),
        judges=examples.judged[examples.user] & (earliest > boundary if by_time else held),
        labels=labels,
        judged_labels=(examples.first < NEVER) & ~labels if by_time else labels,
    )


def _before_last_window(examples: Examples) -> tuple[int, bool]:
    """The last outcome of the earlier windows: the windows do not overlap."""
    earliest = examples.first[~examples.latest]
    return int(earliest[earliest < NEVER].max(initial=0)), True


def _before_latest(earliest: npt.NDArray[np.int64], share: float) -> tuple[int, bool]:
    """The second after which the latest `share` of outcomes came; not by time where they hardly differ in it."""
    times = np.sort(earliest[earliest < NEVER])
    boundary = int(times[int((len(times) - 1) * (1.0 - share))]) if len(times) else 0
    late = float((times > boundary).mean()) if len(times) else 0.0
    by_time = late >= _SMALLEST_SHARE * share
    return (boundary, True) if by_time else (NEVER - 1, False)
