"""Randomness by user: known hashes, even spread, and no say of who else is there."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from recjobs.compose.chance import Seed, hashed, normal, uniform

SEED = Seed(17, date(2026, 3, 31), "home", "explore")
USERS = pa.array([f"user-{number}" for number in range(20_000)])


def test_hashes_are_fnv_1a() -> None:
    texts = pa.array(["", "a", "foobar", "é"])
    known = [0xCBF29CE484222325, 0xAF63DC4C8601EC8C, 0x85944171F73967E8]
    found = hashed(texts)
    assert found[:3].tolist() == known
    assert hashed(texts.slice(2))[0] == known[2]
    assert len(hashed(pa.array([], pa.string()))) == 0


def test_a_user_has_the_same_numbers_wherever_they_stand() -> None:
    whole = uniform(SEED.keys(USERS), 3)
    assert np.array_equal(whole[500:700], uniform(SEED.keys(USERS.slice(500, 200)), 3))
    assert np.array_equal(whole[:, 1:], uniform(SEED.keys(USERS), 2, first=1))


def test_seed_date_surface_and_purpose_all_count() -> None:
    others = [
        Seed(18, SEED.ds, "home", "explore"),
        Seed(17, date(2026, 4, 1), "home", "explore"),
        Seed(17, SEED.ds, "email", "explore"),
        Seed(17, SEED.ds, "home", "dither"),
    ]
    own = uniform(SEED.keys(USERS), 1)[:, 0]
    for other in others:
        assert abs(np.corrcoef(own, uniform(other.keys(USERS), 1)[:, 0])[0, 1]) < 0.03


def test_numbers_are_spread_evenly_and_are_unlike_each_other() -> None:
    drawn = uniform(SEED.keys(USERS), 4)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.histogram(drawn[:, 2], bins=20, range=(0, 1))[0]
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(950)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.03


def test_normal_numbers_are_normal() -> None:
    drawn = normal(SEED.keys(USERS), 3)
    assert np.abs(drawn.mean(axis=0)).max() < 0.03
    assert np.abs(drawn.std(axis=0) - 1).max() < 0.03
    assert abs((drawn[:, 0] < -1).mean() - 0.1587) < 0.01
