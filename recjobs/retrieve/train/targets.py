"""From which point of a user's history each event is to be foreseen.

Position 0 is the empty history, position p ≥ 1 the history up to event p - 1. A nightly list is made
after one day for the next, so by default every event is foreseen from the end of the day before
it: what else is in the same basket is not known at night. All events of a day share that
position, which makes it cheap too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from recjobs.retrieve.framework import tf
from recjobs.retrieve.user_features import EVENT_TYPE, ITEM, TIME

SECONDS_A_DAY = 86_400
BEFORE_ALL = -1
"""The day of the empty history's position."""
_NEVER = tf.int64.max


class Targets(NamedTuple):
    """For B windows of E events: `position` int32[B, E] each event is foreseen from, `weight` float32[B, E].

    A weight of 0 is no target: padding, a dislike, an event that another window has as its target.
    """

    position: Any
    weight: Any


@dataclass(frozen=True)
class TargetRule:
    """How targets are chosen and weighed.

    `event_weight` float32[types + 1] by event code. `next_day`: from the end of the last active day
    before, else from the event before. A target counts half after every `half_life_days` before
    `last_day`. The targets of one position together count as their number to the power of
    `1 - crowding`: 0 counts every event alike, 1 every position. Events of the last `held_out_days` until
    `last_day` are no targets. With `last_alone` a window has no targets but those of its last position with any.
    """

    event_weight: Any
    next_day: bool
    crowding: float
    half_life_days: float | None
    last_day: int
    held_out_days: int = 0
    last_alone: bool = False

    def targets(self, events: dict[str, Any], first_target: Any) -> Targets:
        """The targets of windows of events, int64[B, E] each, sorted by time; `first_target` int64[B]."""
        day = tf.where(events[ITEM] > 0, events[TIME] // SECONDS_A_DAY, _NEVER)
        here = tf.tile(tf.range(tf.shape(day)[1])[None], [tf.shape(day)[0], 1])
        position = tf.searchsorted(day, day) if self.next_day else here
        weight = self._weight(events, day)
        mine = (tf.cast(here, tf.int64) >= first_target[:, None]) & ((position > 0) | (first_target[:, None] == 0))
        weight = tf.where(mine, weight, 0.0)
        if self.last_alone:
            last = tf.reduce_max(tf.where(weight > 0, position, -1), axis=1, keepdims=True)
            weight = tf.where(position == last, weight, 0.0)
        return Targets(position, self._thinned(position, weight))

    def _weight(self, events: dict[str, Any], day: Any) -> Any:
        weight = tf.where(events[ITEM] > 0, tf.maximum(tf.gather(self.event_weight, events[EVENT_TYPE]), 0.0), 0.0)
        if self.held_out_days:
            weight = tf.where(day <= self.last_day - self.held_out_days, weight, 0.0)
        if self.half_life_days is None:
            return weight
        age = tf.cast(tf.maximum(self.last_day - day, 0), tf.float32)
        return weight * tf.pow(0.5, age / self.half_life_days)

    def _thinned(self, position: Any, weight: Any) -> Any:
        if not self.crowding:
            return weight
        together = (position[:, :, None] == position[:, None, :]) & (weight[:, None, :] > 0)
        count = tf.reduce_sum(tf.cast(together, tf.float32), axis=2)
        return weight / tf.pow(tf.maximum(count, 1.0), self.crowding)


def shuffle_ties(events: dict[str, Any], seed: Any) -> dict[str, Any]:
    """Events of equal time in random order (of a basket, the order says nothing); padding stays last.

    `events` are int64[B, E], sorted by time within each row, item 0 is padding; `seed` int32[2].
    """
    by_chance = tf.argsort(tf.random.stateless_uniform(tf.shape(events[ITEM]), seed), axis=1)
    time = tf.where(events[ITEM] > 0, events[TIME], _NEVER)
    by_time = tf.argsort(tf.gather(time, by_chance, batch_dims=1), axis=1, stable=True)
    order = tf.gather(by_chance, by_time, batch_dims=1)
    return {name: tf.gather(values, order, batch_dims=1) for name, values in events.items()}
