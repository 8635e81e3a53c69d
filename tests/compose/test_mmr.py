"""Maximal marginal relevance against a program that goes from place to place."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from recjobs.columns import SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.config import MmrConfig
from recjobs.compose.mmr import Mmr
from tests.compose.shelves import assert_sound, listed, lists_of, random_lists, scene

ITEMS, WIDTH = 40, 6


def vectors(random: np.random.Generator) -> np.ndarray:
    drawn = random.normal(size=(ITEMS + 1, WIDTH)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn[0] = drawn[5] = 0
    return drawn


def naive(items: list[int], scores: list[float], known: np.ndarray, config: MmrConfig) -> list[int]:
    near, far = items[: config.depth], items[config.depth :]
    top = scores[: config.depth]
    spread = (top[0] - top[-1]) if near else 0
    relevance = {item: (score - top[-1]) / spread if spread else 1 for item, score in zip(near, top, strict=True)}
    made: list[int] = []
    while near and len(made) < config.places:
        value = {
            item: config.relevance * relevance[item]
            - (1 - config.relevance) * max((float(known[item] @ known[other]) for other in made), default=0)
            for item in near
        }
        made.append(max(near, key=lambda item: value[item]))
        near.remove(made[-1])
    return made + near + far


@pytest.mark.parametrize(
    "config",
    [
        MmrConfig(relevance=0.7, places=6, depth=12),
        MmrConfig(relevance=0.3, places=20, depth=50),
        MmrConfig(relevance=0.0, places=3, depth=5),
    ],
)
def test_lists_are_those_of_a_plain_program(config: MmrConfig) -> None:
    random = np.random.default_rng(3)
    known, lists = vectors(random), random_lists(np.random.default_rng(4), 30, ITEMS, 20)
    after = Mmr(known, config)(lists, scene(ITEMS, users=30))
    assert_sound(after.lists)
    for row in range(30):
        scores = lists.filter(pl.col(ROW) == row)[SCORE].to_list()
        assert listed(after.lists, row) == naive(listed(lists, row), scores, known, config)
    assert after.moved == int((after.lists["item_index"] != lists["item_index"]).sum())


def test_twins_are_parted() -> None:
    """1 and 2 are the same but for the name; 3 is unlike, and not much worse."""
    known = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    lists = lists_of([1, 2, 3, 4], scores=[4.0, 3.9, 3.5, 1.0])
    after = Mmr(known, MmrConfig(relevance=0.7, places=4))(lists, scene(4))
    assert listed(after.lists) == [1, 3, 2, 4]
    assert after.lists[SCORE].to_list() == lists[SCORE].to_list()
    assert listed(Mmr(known, MmrConfig(relevance=1.0))(lists, scene(4)).lists) == [1, 2, 3, 4]


def test_a_users_list_does_not_hang_on_who_is_beside_them() -> None:
    random = np.random.default_rng(5)
    known, lists = vectors(random), random_lists(random, 700, ITEMS, 25)
    config = MmrConfig(relevance=0.5, places=10, depth=20)
    together = Mmr(known, config)(lists, scene(ITEMS, users=700)).lists
    alone = lists.filter(pl.col(ROW) == 600).with_columns(pl.lit(0, pl.Int32).alias(ROW))
    assert listed(Mmr(known, config)(alone, scene(ITEMS)).lists) == listed(together, 600)
