from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjobs.retrieve.train.spectral import BACKWARD, Factors, following, normalised, spectral_factors

Ints = npt.NDArray[np.int64]


def flat(sequences: list[list[int]]) -> tuple[Ints, Ints]:
    lengths = [len(sequence) for sequence in sequences]
    items = np.array([item for sequence in sequences for item in sequence], np.int64)
    return items, np.repeat(np.arange(len(sequences)), lengths)


def factors_of(sequences: tuple[Ints, Ints], count: int, size: int, seed: int = 1) -> Factors:
    counts = np.bincount(sequences[0] - 1, minlength=count)
    return spectral_factors(normalised(following(*sequences, count), counts), size=size, seed=seed)


def planted(groups: int = 4, size: int = 8, sequences: int = 200) -> tuple[Ints, Ints]:
    """Sequences of items of one group each; item 1 + i is of group i % groups."""
    random = np.random.default_rng(0)
    return flat([list(1 + number % groups + groups * random.integers(0, size, 6)) for number in range(sequences)])


def test_what_follows_counts_by_distance_and_in_part_backwards() -> None:
    matrix = normalised(following(*flat([[1, 2, 3], [3]]), 3), np.array([1, 1, 2])).toarray()
    counts = np.array([1, 1, 2])
    forward = np.array([[0, 1, 2**-0.5], [0, 0, 1], [0, 0, 0]])
    expected = (forward + BACKWARD * forward.T) / counts[:, None] ** 0.5 / counts[None, :] ** 0.3
    assert matrix == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=8), min_size=1, max_size=8))
def test_sequences_say_nothing_of_each_other(sequences: list[list[int]]) -> None:
    together = following(*flat(sequences), 6).toarray()
    alone = sum(following(*flat([sequence]), 6).toarray() for sequence in sequences)
    assert together == pytest.approx(alone, abs=1e-5)


def test_factors_know_the_planted_groups() -> None:
    factors = factors_of(planted(), 32, 8)
    scores = factors.history[1:] @ factors.catalogue[1:].T
    group = np.arange(32) % 4
    same = group[:, None] == group[None, :]
    assert scores[same].min() > scores[~same].max()
    assert not factors.history[0].any()
    assert np.linalg.norm(factors.catalogue[1:], axis=1).mean() == pytest.approx(1, abs=1e-5)


def test_factors_know_the_direction() -> None:
    factors = factors_of(flat([[1, 2], [2, 3], [3, 1]] * 20), 3, 3)
    scores = factors.history[1:] @ factors.catalogue[1:].T
    assert [int(np.argmax(row)) for row in scores] == [1, 2, 0]


def test_the_same_sequences_and_seed_give_the_same_factors() -> None:
    first, second = (factors_of(planted(), 32, 8, seed=3) for _ in range(2))
    assert np.array_equal(first.history, second.history)
    assert np.array_equal(first.catalogue, second.catalogue)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_items_and_many_numbers(count: int) -> None:
    factors = factors_of(flat([[1], [1]]), count, 16)
    assert factors.history.shape == (count + 1, 16)
    assert np.isfinite(factors.history).all()
    assert not factors.history[2:].any()
