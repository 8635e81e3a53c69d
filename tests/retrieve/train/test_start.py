from __future__ import annotations

import numpy as np
import pytest

from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.sequences import Sequences
from recjobs.retrieve.train.start import start_from
from recjobs.retrieve.train.targets import SECONDS_A_DAY
from recjobs.retrieve.user_features import EVENT_TYPE, ITEM, TIME

WEIGHT = np.array([0, 1, -1, 0], np.float32)
LAST_DAY = 20_000
Events = list[tuple[int, int, int]]


def block(users: list[Events]) -> Sequences:
    """Users' events (day, item, type)."""
    flat = np.array([event for events in users for event in events]).reshape(-1, 3)
    seconds = (flat[:, 0] + 1) * SECONDS_A_DAY - 1
    events = {TIME: seconds.astype(np.int32), ITEM: flat[:, 1], EVENT_TYPE: flat[:, 2].astype(np.int8)}
    return Sequences(np.array([len(one) for one in users], np.int64), events, {}, np.arange(len(users)))


def tables(*blocks: list[Events], last_day: int = LAST_DAY) -> list[np.ndarray]:
    """What the items' tables start from: of six items, the last with no event in any test."""
    tf.keras.utils.set_random_seed(4)
    none = np.zeros((7, 0), np.float32)
    features = ItemFeatures(none.astype(np.int32), none.astype(np.int32), none, none, np.r_[0, np.ones(6, np.int64)])
    items = ItemTower(features, size=4, hash_rows=2, token_rows=1, cosine=True, own_history=True)
    start_from(items, map(block, blocks), WEIGHT, last_day, seed=5)
    return [items.id_embedding.numpy(), items.history_embedding.numpy()]


def day(*items: int, kind: int = 1, before: int = 0) -> Events:
    return [(LAST_DAY - before, item, kind) for item in items]


LIKED = [day(1, 2, 3, before=9), day(2, 3, 4, before=9), day(4, 1, before=9)]


@pytest.mark.parametrize("later", [day(5, 1, kind=2), day(2, 5, kind=2)])
def test_dislikes_do_not_say_that_an_item_follows(later: Events) -> None:
    users = [[*LIKED[0], *later], *LIKED[1:]]
    assert all(np.array_equal(one, other) for one, other in zip(tables(users), tables(LIKED), strict=True))


def test_nothing_is_counted_of_held_out_days() -> None:
    users = [[*LIKED[0], *day(5, 1)], [*LIKED[1], *day(5, before=1)], LIKED[2]]
    early = tables(users, last_day=LAST_DAY - 2)
    assert all(np.array_equal(one, other) for one, other in zip(early, tables(LIKED), strict=True))
    assert not np.array_equal(early[0], tables(users)[0])


def test_blocks_add_up_and_items_without_an_event_keep_their_rows() -> None:
    whole, parts = tables(LIKED), tables(LIKED[:1], LIKED[1:])
    assert all(one == pytest.approx(other, abs=1e-5) for one, other in zip(whole, parts, strict=True))
    assert 0 < np.abs(whole[0][5:]).max() < 0.2
    assert np.linalg.norm(whole[0][1:5], axis=1).mean() == pytest.approx(1, abs=1e-3)
