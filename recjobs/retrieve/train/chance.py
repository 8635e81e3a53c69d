"""Randomness of a training step as a function of its seed, so that a training which goes on after a kill draws
what it would have drawn.

TensorFlow's own draws keep a counter in the process. Here the n-th draw of a step follows from the step's seed
and n alone. Outside `drawing` (a tower called by hand) draws are TensorFlow's own.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from recjobs.retrieve.framework import tf

_seeds: ContextVar[Iterator[Any] | None] = ContextVar("seeds", default=None)


@contextlib.contextmanager
def drawing(seed: Any) -> Iterator[None]:
    """Draws within the block follow from `seed`, int32[2]; one after the other, each with a seed of its own."""
    token = _seeds.set(tf.random.fold_in(seed, place) for place in itertools.count(1))
    try:
        yield
    finally:
        _seeds.reset(token)


def uniform(shape: Any) -> Any:
    """float32 of `shape` in [0, 1)."""
    seeds = _seeds.get()
    return tf.random.uniform(shape) if seeds is None else tf.random.stateless_uniform(shape, next(seeds))


class Dropout(tf.Module):  # type: ignore[misc]
    """Sets a share `rate` of the numbers to 0 in training, and raises the others so that the mean stays."""

    def __init__(self, rate: float) -> None:
        super().__init__(name="dropout")
        self.rate = rate

    def __call__(self, x: Any, training: bool) -> Any:
        if not training or not self.rate:
            return x
        return tf.where(uniform(tf.shape(x)) < self.rate, tf.zeros([], x.dtype), x / (1.0 - self.rate))
