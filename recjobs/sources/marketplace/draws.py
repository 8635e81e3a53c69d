"""Random numbers by name: a draw depends on the seed, the name of the quantity and the keys, on nothing else.

An ordinary generator gives its numbers in the order they are asked for, so a user's taste would
change with the number of users before. Here it is a hash of (seed, name, key): the finaliser of
SplitMix64 (Steele, Lea, Flood 2014, "Fast Splittable Pseudorandom Number Generators"), vectorised.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mixed(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))


def uniform(seed: int, name: str, *keys: npt.ArrayLike) -> Floats:
    """Numbers in (0, 1), one for each element of the broadcast integer `keys`."""
    start = (np.uint64(seed) << np.uint64(32)) ^ np.uint64(zlib.crc32(name.encode()))
    state = _mixed(np.atleast_1d(start) + _GOLDEN)
    with np.errstate(over="ignore"):
        for key in keys:
            state = _mixed((state ^ np.asarray(key, np.int64).astype(np.uint64)) * _GOLDEN + _GOLDEN)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def normal(seed: int, name: str, *keys: npt.ArrayLike) -> Floats:
    """Standard normal numbers (Box and Muller), one for each element of the broadcast `keys`."""
    radius = np.sqrt(-2.0 * np.log(uniform(seed, f"{name}/radius", *keys)))
    return radius * np.cos(2.0 * np.pi * uniform(seed, f"{name}/angle", *keys))


def integer(seed: int, name: str, below: int, *keys: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Integers in [0, below), one for each element of the broadcast `keys`."""
    return (uniform(seed, name, *keys) * below).astype(np.int64)


def choice(seed: int, name: str, weights: npt.ArrayLike, *keys: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Positions in `weights`, drawn in proportion to them."""
    upto = np.cumsum(np.asarray(weights, np.float64))
    return np.searchsorted(upto[:-1] / upto[-1], uniform(seed, name, *keys), side="right")
