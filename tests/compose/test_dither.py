"""Dithering: the same for the same night, mild at the top, and within what is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from recjobs.compose.chance import Seed
from recjobs.compose.dither import Dither
from tests.compose.shelves import assert_sound, listed, lists_of
from tests.compose.test_explore import crowd

SEED = Seed(17, date(2026, 3, 31), "home", "dither")
ITEMS = list(range(1, 21))


def dithered(strength: float, seed: Seed = SEED, users: int = 300, length: int = 12) -> list[list[int]]:
    people = crowd(users)
    people = replace(people, surface=people.surface.model_copy(update={"length": length}))
    after = Dither(strength, seed)(lists_of(*[ITEMS] * users), people)
    assert_sound(after.lists)
    lists = [listed(after.lists, row) for row in range(users)]
    assert after.moved == sum(one != other for made in lists for one, other in zip(made, ITEMS, strict=True))
    return lists


def test_the_same_night_gives_the_same_lists_and_another_gives_others() -> None:
    first = dithered(0.5)
    assert dithered(0.5) == first
    assert dithered(0.5, users=100) == first[:100]
    for other in (replace(SEED, ds=date(2026, 4, 1)), replace(SEED, surface="email"), replace(SEED, seed=18)):
        assert dithered(0.5, other) != first
    assert len({tuple(made) for made in first}) > 250


def test_noise_stays_within_the_list_and_keeps_every_item() -> None:
    for made in dithered(1.0):
        assert sorted(made[:12]) == ITEMS[:12]
        assert made[12:] == ITEMS[12:]


def test_it_is_milder_at_the_top_and_with_less_strength() -> None:
    places = {strength: np.argsort(dithered(strength), axis=1) for strength in (0.1, 0.4)}
    shift = {strength: np.abs(found - np.arange(20)).mean(axis=0)[:12] for strength, found in places.items()}
    assert (shift[0.1] <= shift[0.4]).all()
    assert shift[0.4][0] < shift[0.4][5]
    # Noise of 0.1 on the logarithm: the first two, ln 2 apart, change places in almost no list.
    assert (places[0.1][:, 0] == 0).all()
    second_first = (places[0.4][:, 1] < places[0.4][:, 0]).mean()
    assert 0.05 < second_first < 0.2
