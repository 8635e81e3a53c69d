"""Randomness that belongs to a user: the same for the same seed, date, surface and user, whatever block they are in.

A key is a 64-bit hash of all four; from it any number of values are drawn by counting, so no generator has a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]

_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Seed:
    """Where the randomness of one purpose on one surface and date comes from."""

    seed: int
    ds: date
    surface: str
    purpose: str

    def keys(self, users: pa.Array) -> Keys:
        """A key for each user id, uint64[len(users)]."""
        own = hashed(pa.array([f"{self.seed}/{self.ds}/{self.surface}/{self.purpose}"], pa.string()))
        return _mixed(hashed(users) ^ own[0])


def uniform(keys: Keys, count: int, first: int = 0) -> Floats:
    """Numbers `first` … of each key, float64[len(keys), count], evenly spread over [0, 1)."""
    at = np.arange(first + 1, first + count + 1, dtype=np.uint64) * _GOLDEN
    return (_mixed(keys[:, None] + at[None, :]) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(keys: Keys, count: int) -> Floats:
    """Standard normal numbers, float64[len(keys), count] (Box and Muller 1958)."""
    radius = np.sqrt(-2 * np.log1p(-uniform(keys, count)))
    drawn: Floats = radius * np.cos(2 * np.pi * uniform(keys, count, first=count))
    return drawn


def hashed(texts: pa.Array) -> Keys:
    """FNV-1a of the UTF-8 of each text, uint64[len(texts)]: byte after byte for all texts at once."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    buffer = texts.buffers()[2]
    data = np.frombuffer(buffer, np.uint8) if buffer is not None and buffer.size else np.zeros(1, np.uint8)
    starts, lengths = offsets[:-1], np.diff(offsets)
    found = np.full(len(texts), _FNV_START)
    for place in range(int(lengths.max(initial=0))):
        there = lengths > place
        found[there] = (found[there] ^ data[starts[there] + place]) * _FNV_PRIME
    return found


def _mixed(values: Keys) -> Keys:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): near keys become unlike."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Keys = values ^ (values >> np.uint64(31))
    return mixed
