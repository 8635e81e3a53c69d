"""Draws by name: they depend on seed, name and key alone, and have the distribution they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjobs.sources.marketplace import draws

KEYS = np.arange(200_000)


def test_uniform_numbers_are_uniform() -> None:
    drawn = draws.uniform(17, "anything", KEYS)
    assert 0 < drawn.min() < drawn.max() < 1
    counts, _ = np.histogram(drawn, bins=50, range=(0, 1))
    chi_square = ((counts - 4000) ** 2 / 4000).sum()
    assert chi_square < 100  # 49 degrees of freedom: 1 in 30,000 is above


def test_normal_numbers_are_normal() -> None:
    drawn = draws.normal(17, "anything", KEYS)
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(drawn) < 1.96) == pytest.approx(0.95, abs=0.003)


def test_choices_are_in_proportion() -> None:
    drawn = draws.choice(17, "anything", [1, 0, 3], KEYS)
    assert np.bincount(drawn, minlength=3) / len(KEYS) == pytest.approx([0.25, 0, 0.75], abs=0.005)


@given(st.integers(0, 2**31), st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=20))
def test_a_draw_does_not_depend_on_its_company(seed: int, keys: list[int]) -> None:
    together = draws.uniform(seed, "name", np.array(keys))
    alone = [draws.uniform(seed, "name", np.array([key]))[0] for key in keys]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    "other",
    [
        draws.uniform(18, "name", KEYS),
        draws.uniform(17, "other", KEYS),
        draws.uniform(17, "name", KEYS + 1),
        draws.uniform(17, "name", KEYS, 0),
    ],
)
def test_seed_name_and_key_give_unrelated_numbers(other: draws.Floats) -> None:
    drawn = draws.uniform(17, "name", KEYS)
    assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.01


def test_keys_broadcast() -> None:
    assert draws.integer(17, "name", 7, KEYS[:5, None], KEYS[:3]).shape == (5, 3)
