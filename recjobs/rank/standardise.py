"""Scores on one scale per user: standardised, or by rank."""

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


def closeness(values: npt.NDArray[np.floating], lengths: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """1 / rank within each user, the largest value having rank 1; 0 for values of 0, which say nothing.

    `lengths` counts each user's consecutive values. Equal values keep their order.
    """
    if not values.any():
        return np.zeros(len(values), np.float32)
    filled = np.arange(int(lengths.max(initial=0))) < lengths[:, np.newaxis]
    table = np.full(filled.shape, np.inf, np.float32)
    table[filled] = -values
    width = filled.shape[1]
    place = np.argsort(table, axis=1, kind="stable") + np.arange(len(filled))[:, np.newaxis] * width
    ranked = np.empty(filled.shape, np.float32)
    ranked.ravel()[place] = 1.0 / np.arange(1, width + 1, dtype=np.float32)
    result: npt.NDArray[np.float32] = np.where(values == 0, np.float32(0.0), ranked[filled])
    return result
