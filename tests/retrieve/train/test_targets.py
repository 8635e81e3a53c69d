from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.targets import SECONDS_A_DAY, TargetRule, shuffle_ties

VIEW, BUY, DISLIKE = 1, 2, 3
WEIGHTS = np.array([0, 1, 4, -2], np.float32)


def rule(**given: Any) -> TargetRule:
    defaults: dict[str, Any] = {"next_day": True, "crowding": 0.0, "half_life_days": None, "last_day": 100}
    return TargetRule(event_weight=tf.constant(WEIGHTS), **(defaults | given))


def events(days: list[int], types: list[int] | None = None, items: list[int] | None = None) -> dict[str, Any]:
    """One window with an event on each of the days."""
    return {
        "item": tf.constant([items or list(range(1, len(days) + 1))], tf.int64),
        "type": tf.constant([types or [VIEW] * len(days)], tf.int64),
        "time": tf.constant([[day * SECONDS_A_DAY + 5 for day in days]], tf.int64),
    }


def first(index: int) -> Any:
    return tf.constant([index], tf.int64)


def test_a_day_is_foreseen_from_the_end_of_the_day_before() -> None:
    targets = rule().targets(events([3, 3, 4, 7, 7, 7]), first(0))
    assert targets.position.numpy().tolist() == [[0, 0, 2, 3, 3, 3]]
    assert targets.weight.numpy().tolist() == [[1, 1, 1, 1, 1, 1]]


def test_next_event_is_foreseen_from_the_event_before() -> None:
    targets = rule(next_day=False).targets(events([3, 3, 4]), first(0))
    assert targets.position.numpy().tolist() == [[0, 1, 2]]


def test_no_position_sees_its_targets_day() -> None:
    days = sorted(np.random.default_rng(0).integers(0, 9, 30).tolist())
    position = rule().targets(events(days), first(0)).position.numpy()[0]
    for event, at in enumerate(position):
        assert all(days[seen] < days[event] for seen in range(at))
        assert at == event or days[at] == days[event]


def test_weights_are_those_of_the_event_types_and_a_dislike_is_no_target() -> None:
    targets = rule().targets(events([1, 2, 3], [BUY, DISLIKE, VIEW]), first(0))
    assert targets.weight.numpy().tolist() == [[4, 0, 1]]


def test_padding_is_no_target() -> None:
    targets = rule().targets(events([1, 2, 0], items=[5, 6, 0]), first(0))
    assert targets.weight.numpy().tolist() == [[1, 1, 0]]


def test_a_later_window_has_no_empty_history_and_leaves_the_context_to_others() -> None:
    targets = rule().targets(events([1, 1, 2, 2]), first(1))
    assert targets.weight.numpy().tolist() == [[0, 0, 1, 1]]


def test_an_old_target_counts_less() -> None:
    targets = rule(half_life_days=10).targets(events([80, 90, 100]), first(0))
    assert targets.weight.numpy()[0] == pytest.approx([0.25, 0.5, 1])


def test_held_out_days_are_no_targets() -> None:
    targets = rule(held_out_days=2).targets(events([97, 98, 99, 100]), first(0))
    assert targets.weight.numpy().tolist() == [[1, 1, 0, 0]]


def test_crowding_levels_days_of_different_size() -> None:
    days = [1, 2, 2, 2, 2]
    assert rule(crowding=1.0).targets(events(days), first(0)).weight.numpy()[0] == pytest.approx([1] + [0.25] * 4)
    assert rule(crowding=0.5).targets(events(days), first(0)).weight.numpy()[0] == pytest.approx([1] + [0.5] * 4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 4), st.integers(0, 1000))
def test_only_ties_are_shuffled(times: list[int], padding: int, seed: int) -> None:
    times = sorted(times)
    size = len(times) + padding
    item = np.array([[*range(1, len(times) + 1), *[0] * padding]])
    time = np.array([[*times, *[0] * padding]])
    given_events = {"item": tf.constant(item), "type": tf.constant(item * 2), "time": tf.constant(time)}
    shuffled = {name: values.numpy()[0] for name, values in shuffle_ties(given_events, tf.constant([seed, 1])).items()}
    assert sorted(shuffled["item"]) == sorted(item[0])
    assert shuffled["time"][: len(times)].tolist() == times
    assert (shuffled["item"][len(times) :] == 0).all()
    assert len(shuffled["item"]) == size
    assert (shuffled["type"] == shuffled["item"] * 2).all(), "an event's fields move together"


def test_a_basket_comes_in_many_orders() -> None:
    basket = events([5] * 6)
    orders = {tuple(shuffle_ties(basket, tf.constant([0, step]))["item"].numpy()[0]) for step in range(20)}
    assert len(orders) > 10


def test_of_the_last_position_alone_only_its_own_targets_are_left() -> None:
    last = rule(last_alone=True)
    assert last.targets(events([1, 2, 2, 5, 5]), first(0)).weight.numpy().tolist() == [[0, 0, 0, 1, 1]]
    next_event = rule(last_alone=True, next_day=False)
    assert next_event.targets(events([1, 2, 2, 5, 5]), first(0)).weight.numpy().tolist() == [[0, 0, 0, 0, 1]]
    # The last that has any: not padding, not a dislike, not a held-out day.
    told = events([1, 2, 3, 0], [VIEW, VIEW, DISLIKE, VIEW], [7, 8, 9, 0])
    assert last.targets(told, first(0)).weight.numpy().tolist() == [[0, 1, 0, 0]]
    held_out = rule(last_alone=True, held_out_days=1)
    assert held_out.targets(events([98, 99, 100]), first(0)).weight.numpy().tolist() == [[0, 1, 0]]
