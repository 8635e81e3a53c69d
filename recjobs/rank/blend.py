"""From the heads' probabilities to one score: utility, and its blend with retrieval."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recjobs.errors import SettingsError
from recjobs.rank.block import FloatArray
from recjobs.rank.standardise import standardised
from recjobs.settings import Settings


def utility_weights(config: Settings) -> tuple[float, ...]:
    """Each task's weight in the utility: as configured, else the largest weight among its event types.

    Raises:
        SettingsError: `rank.train.utility` names a task that no event type has.
    """
    tasks = config.tasks()
    configured: Mapping[str, float] = config.rank.train.utility
    unknown = sorted(set(configured) - set(tasks))
    if unknown:
        raise SettingsError(f"rank.train.utility: no event type has task {unknown[0]!r}; tasks are {list(tasks)}.")
    largest = {task: max(kind.weight for kind in config.events.types.values() if kind.task == task) for task in tasks}
    return tuple(float(configured.get(task, largest[task])) for task in tasks)


def utility_of(probabilities: FloatArray, weights: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """The expected utility of each pair, float64[pairs]: sum over tasks of weight × probability."""
    result: npt.NDArray[np.float64] = probabilities.astype(np.float64) @ np.asarray(weights, np.float64)
    return result


def blended(
    retrieval: FloatArray, utility: npt.NDArray[np.float64], lengths: npt.NDArray[np.integer], weight: float
) -> FloatArray:
    """(1 - weight) × retrieval + weight × utility, both standardised per user; float32[pairs].

    `retrieval` is standardised already; `lengths` counts each user's consecutive pairs.
    """
    return ((1.0 - weight) * retrieval + weight * standardised(utility, lengths)).astype(np.float32)
