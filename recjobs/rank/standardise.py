"""Scores on one scale per user."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def standardised(values: npt.NDArray[Any], lengths: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """(value - mean) / standard deviation within each user, float32[len(values)].

    `lengths` counts each user's consecutive values. Where all of a user's values are equal, 0.
    """
    filled = lengths > 0
    starts = (np.cumsum(lengths) - lengths)[filled]
    if not len(starts):
        return np.zeros(0, np.float32)
    counts = lengths[filled]
    wide = values.astype(np.float64)
    centred = wide - np.repeat(np.add.reduceat(wide, starts) / counts, counts)
    deviation = np.sqrt(np.add.reduceat(centred**2, starts) / counts)
    # Equal values differ from their mean by rounding only; dividing by that would blow it up.
    level = deviation <= 1e-9 * np.maximum.reduceat(np.abs(wide), starts)
    scale = np.where(level, np.inf, deviation)
    result: npt.NDArray[np.float32] = (centred / np.repeat(scale, counts)).astype(np.float32)
    return result
