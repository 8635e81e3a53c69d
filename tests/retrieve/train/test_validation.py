from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train.config import RetrieveTrainConfig, ValidationConfig
from recjobs.retrieve.train.export import ServingItemTower, ServingUserTower, build, representations
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.sequences import Sequences
from recjobs.retrieve.train.targets import SECONDS_A_DAY, TargetRule
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.train.validation import Foreseen, Judge, _ranks, foreseen, measures, usual_device
from recjobs.retrieve.user_features import DEVICE, EVENT_TYPE, ITEM, NOW, SIDE_FIELDS, TIME

WEIGHT = np.array([0, 1, -1], np.float32)
LAST_DAY = 100


def sequences(users: dict[int, list[tuple[int, int, int]]]) -> Sequences:
    """Users by index, each with events (day, item, type)."""
    flat = np.array([event for events in users.values() for event in events]).reshape(-1, 3)
    none = (np.array([b""], object), np.zeros(len(users), np.int32))
    return Sequences(
        np.array([len(events) for events in users.values()], np.int64),
        {TIME: flat[:, 0] * SECONDS_A_DAY + 7, ITEM: flat[:, 1], EVENT_TYPE: flat[:, 2]},
        dict.fromkeys(SIDE_FIELDS, none),
        np.array(list(users), np.int64),
    )


def found(blocks: list[Sequences], **given: Any) -> Foreseen:
    config = ValidationConfig(**given)
    return foreseen(blocks, config, last_day=LAST_DAY, length=3, event_weight=WEIGHT, seed=5)


def test_the_latest_days_are_foreseen_from_what_was_before_them() -> None:
    block = sequences(
        {
            7: [(90, 1, 1), (91, 2, 1), (92, 3, 1), (98, 4, 1), (99, 5, 1), (100, 6, 1), (100, 6, 1), (100, 8, 2)],
            8: [(99, 1, 1), (100, 2, 1)],  # nothing before
            9: [(50, 9, 1), (100, 1, 2)],  # a dislike only
            4: [(98, 2, 1), (99, 1, 1)],
        }
    )
    what = found([block], days=2)
    assert what.inputs[columns.USER_INDEX].tolist() == [7, 4]
    assert what.inputs[ITEM].tolist() == [[2, 3, 4], [2, 0, 0]]
    assert what.inputs[NOW].tolist() == [99 * SECONDS_A_DAY] * 2
    assert list(zip(what.row.tolist(), what.item.tolist(), strict=True)) == [(0, 5), (0, 6), (1, 1)]


@pytest.mark.parametrize("most", [1, 3, 50])
def test_the_same_users_whatever_the_blocks(most: int) -> None:
    users = {index: [(90, index, 1), (100, index + 1, 1)] for index in range(1, 21)}
    one = found([sequences(users)], users=most)
    halves = [sequences(dict(part)) for part in (list(users.items())[:9], list(users.items())[9:])]
    two = found(halves, users=most)
    assert one.users == two.users == min(most, 20)
    for name, values in one.inputs.items():
        assert values.tolist() == two.inputs[name].tolist() if values.ndim == 1 else True
    assert [one.row.tolist(), one.item.tolist()] == [two.row.tolist(), two.item.tolist()]
    assert one.item.tolist() == [index + 1 for index in one.inputs[columns.USER_INDEX].tolist()]


def test_the_device_is_the_usual_one_of_what_was_before() -> None:
    block = sequences({7: [(91, 2, 1), (92, 3, 1), (98, 4, 1), (100, 6, 1)]})
    block.events[DEVICE] = np.array([5, 9, 5, 9])
    assert found([block]).inputs[DEVICE].tolist() == [5]
    rows = np.array([[5, 9, 5, 0], [5, 9, 9, 5], [9, 5, 5, 9], [0, 0, 0, 0], [0, 0, 0, 4]])
    assert usual_device(rows).tolist() == [5, 5, 9, 0, 4]
    assert usual_device(rows[:, :0]).tolist() == [0] * 5


def test_nobody_to_validate_on_is_an_error_that_says_what_to_change() -> None:
    with pytest.raises(ModelError, match=r"last 1 days.*validation\.days"):
        found([sequences({1: [(90, 1, 1)]})])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_measures_are_those_of_sorted_lists(seed: int, k: int) -> None:
    random = np.random.default_rng(seed)
    users, items = 5, 9
    scores = random.integers(0, 4, (users, items)).astype(np.float32)
    wanted = [set(random.choice(items, random.integers(1, items), replace=False) + 1) for _ in range(users)]
    pairs = [(user, item) for user in range(users) for item in sorted(wanted[user])]
    row, item = np.array(pairs).T
    lists = [sorted(range(1, items + 1), key=lambda i, s=scores[user]: (-s[i - 1], i)) for user in range(users)]
    recall = [len(wanted[user] & set(lists[user][:k])) / len(wanted[user]) for user in range(users)]
    gains = [
        sum(1 / np.log2(at + 2) for at, i in enumerate(lists[user][:k]) if i in wanted[user]) for user in range(users)
    ]
    ideal = [sum(1 / np.log2(at + 2) for at in range(min(k, len(wanted[user])))) for user in range(users)]
    measured = measures(_ranks(scores, row, item), row, users, k)
    assert measured["recall"] == pytest.approx(np.mean(recall))
    assert measured["ndcg"] == pytest.approx(np.mean(np.array(gains) / ideal))


def two_tower(items: int) -> TwoTower:
    """Towers with large weights, in which an item is another thing in a history than as a candidate."""
    tf.keras.utils.set_random_seed(2)
    config = RetrieveTrainConfig(embedding_size=8, sequence_length=3, encoder="mean", user_embedding=False)
    none, counts = np.zeros((items + 1, 0), np.float32), np.r_[0, np.ones(items, np.int64)]
    known = ItemFeatures(none.astype(np.int32), none.astype(np.int32), none, none, counts)
    tower = ItemTower(known, size=8, hash_rows=2, token_rows=1, cosine=True, own_history=True)
    users = UserTower(config, users=1, event_types=2)
    model = TwoTower(tower, users, known, TargetRule(tf.constant(WEIGHT), True, 0.0, None, LAST_DAY), config)
    build(model)
    for variable in model.trainable_variables:
        variable.assign(tf.random.normal(variable.shape))
    return model


def test_a_user_is_judged_by_the_vector_that_will_be_served() -> None:
    model, count = two_tower(9), 9
    users = {index: [(90, index, 1), (95, index % 9 + 1, 1), (100, (index + 4) % 9 + 1, 1)] for index in range(1, 9)}
    what = found([sequences(users)])
    _, history = representations(model, count)
    inputs = {name: tf.constant(values) for name, values in what.inputs.items()}
    vectors = ServingUserTower(model, history).serve(inputs)[columns.VECTOR]
    items = ServingItemTower(model).serve(tf.range(1, count + 1))[columns.VECTOR]
    served = tf.matmul(vectors, items, transpose_b=True).numpy()
    assert Judge(model, what, 3).ranks().tolist() == _ranks(served, what.row, what.item).tolist()
