"""Which later event each position of a window learns to foresee.

Position 0 is the empty history, position p ≥ 1 the history up to event p - 1. A nightly list is made
for the user's next day, so by default the target is drawn from the next active day: what else is
in the same basket says little about tomorrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from recjobs.retrieve.framework import tf

SECONDS_A_DAY = 86_400
BEFORE_ALL = -1
"""The day of the empty history's position."""
_NEVER = tf.int64.max


class Targets(NamedTuple):
    """For B windows of E events, E positions each.

    `item` int64[B, E] is the target (0 where there is none), `day` int64[B, E] the day it happens,
    `weight` float32[B, E] how much it counts, 0 where there is none.
    """

    item: Any
    day: Any
    weight: Any


@dataclass(frozen=True)
class Decay:
    """A target's share by its age: half after every `half_life_days` before `last_day`."""

    half_life_days: float
    last_day: int

    def of(self, day: Any) -> Any:
        """float32 in (0, 1] for int64 days."""
        age = tf.cast(tf.maximum(self.last_day - day, 0), tf.float32)
        return tf.pow(0.5, age / self.half_life_days)


def shuffle_ties(events: dict[str, Any], seed: Any) -> dict[str, Any]:
    """Events of equal time in random order (of a basket, the order says nothing); padding stays last.

    `events` are int64[B, E], sorted by time within each row, item 0 is padding; `seed` int32[2].
    """
    valid = events["item"] > 0
    by_chance = tf.argsort(tf.random.stateless_uniform(tf.shape(valid), seed), axis=1)
    time = tf.where(valid, events["time"], _NEVER)
    by_time = tf.argsort(tf.gather(time, by_chance, batch_dims=1), axis=1, stable=True)
    order = tf.gather(by_chance, by_time, batch_dims=1)
    return {name: tf.gather(values, order, batch_dims=1) for name, values in events.items()}


def choose_targets(
    events: dict[str, Any], event_weight: Any, *, first: Any, seed: Any, next_day: bool, decay: Decay | None = None
) -> Targets:
    """Draws each position's target among the later events whose type has a positive weight.

    With `next_day`, evenly from the earliest later day that has any; where no later day is in the
    window, and without `next_day`, the next event. `event_weight` float32[types + 1]; `first`
    float32[B] says where position 0 is a real beginning and has a target.
    """
    item, time = events["item"], events["time"]
    day = time // SECONDS_A_DAY
    weight = tf.where(item > 0, tf.maximum(tf.gather(event_weight, events["type"]), 0.0), 0.0)
    following = _next_event(weight)
    chosen = following
    if next_day:
        drawn, found = _draw_from_next_day(day, weight, seed)
        chosen = tf.where(found, drawn, following)
    target_weight = tf.gather(weight, tf.maximum(chosen, 0), batch_dims=1) * tf.cast(chosen >= 0, tf.float32)
    target_weight *= _position_mask(item, first)
    chosen = tf.maximum(chosen, 0)
    target_day = tf.gather(day, chosen, batch_dims=1)
    if decay is not None:
        target_weight *= decay.of(target_day)
    target = tf.where(target_weight > 0, tf.gather(item, chosen, batch_dims=1), 0)
    return Targets(target, target_day, target_weight)


def _position_mask(item: Any, first: Any) -> Any:
    """float32[B, E]: 1 at positions whose newest event is real; position 0 only in first windows."""
    return tf.concat([first[:, None], tf.cast(item[:, :-1] > 0, tf.float32)], axis=1)


def _next_event(weight: Any) -> Any:
    """int32[B, E]: event p for position p where it may be a target, else -1."""
    here = tf.range(tf.shape(weight)[1])[None, :]
    return tf.where(weight > 0, here, -1)


def _draw_from_next_day(day: Any, weight: Any, seed: Any) -> tuple[Any, Any]:
    """int32[B, E] an even draw from each position's next active day, bool[B, E] whether there is one."""
    here = tf.concat([tf.fill(tf.shape(day[:, :1]), tf.constant(BEFORE_ALL, tf.int64)), day[:, :-1]], axis=1)
    later = (day[:, None, :] > here[:, :, None]) & (weight[:, None, :] > 0)
    next_day = tf.reduce_min(tf.where(later, day[:, None, :], _NEVER), axis=2, keepdims=True)
    eligible = later & (day[:, None, :] == next_day)
    lots = tf.where(eligible, tf.random.stateless_uniform(tf.shape(eligible), seed), -1.0)
    return tf.argmax(lots, axis=2, output_type=tf.int32), tf.reduce_any(eligible, axis=2)
