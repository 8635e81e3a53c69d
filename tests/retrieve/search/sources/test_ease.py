from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recjobs.errors import SettingsError
from recjobs.retrieve.search.sources.config import EaseConfig
from recjobs.retrieve.search.sources.cooccurrence import Sequences
from recjobs.retrieve.search.sources.ease import Ease, add_gram, had, item_weights, strongest
from tests.retrieve.search.sources.people import DAY, users_of


@pytest.mark.parametrize("items", [1, 7, 512, 1030])
def test_the_weights_solve_the_penalised_regression_of_each_item_on_the_others(items: int) -> None:
    """With 0 on the diagonal, the gradient XᵀX B + l2 B - XᵀX vanishes everywhere else."""
    draw = np.random.default_rng(items)
    seen = sparse.csr_matrix((draw.random((30, items)) < 0.2).astype(np.float32))
    exact = (seen.T @ seen).toarray()
    gram = np.zeros((items, items), np.float32)
    add_gram(gram, seen)
    assert (gram == exact).all()
    weights = item_weights(gram, 5.0)
    assert (np.diag(weights) == 0).all()
    gradient = exact @ weights + 5 * weights - exact
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3


def test_a_penalty_too_small_names_the_setting() -> None:
    with pytest.raises(SettingsError, match=r"ease\.l2: 1e-30"):
        item_weights(np.ones((3, 3), np.float32), 1e-30)


def test_an_item_had_often_counts_once_and_unpopular_ones_take_no_part() -> None:
    events = Sequences(*np.array([(0, 1, 0), (0, 1, 5), (0, 3, 9), (2, 2, 1)], np.int64).T)
    assert had(events, 2).toarray().tolist() == [[1, 0], [0, 0], [0, 1]]
    assert had(Sequences(*np.zeros((3, 0), np.int64)), 2).shape == (0, 2)


def test_the_largest_weights_of_each_row_are_kept_whatever_their_sign() -> None:
    weights = np.array([[0, 0.3, -0.5, 0.1], [0.2, 0, 0.2, 0.2], [0, 0, 0, 0], [0.1, 0, 0, 0]], np.float32)
    rows, columns, values = strongest(weights, 2)
    assert list(zip(rows.tolist(), columns.tolist(), values.tolist(), strict=True)) == [
        (0, 1, pytest.approx(0.3)),
        (0, 2, -0.5),
        (1, 0, pytest.approx(0.2)),
        (1, 2, pytest.approx(0.2)),
        (3, 0, pytest.approx(0.1)),
    ]


def test_what_the_user_had_lately_speaks_loudest_and_what_speaks_against_an_item_leaves_nothing() -> None:
    weights = sparse.csr_matrix(np.array([[0, 0, 0], [0, 1.0, -1], [0.5, 0, 0.75]], np.float32))
    source = Ease(weights, np.array([0.0, 1.0, 3.0]), 100 * DAY, EaseConfig(half_life_days=10))
    users = users_of([(2, 1, 4, 100 * DAY), (1, 1, 1, 90 * DAY)], [(1, 2, 1, 80 * DAY)], [])
    scores = source.block(users).matrix
    assert scores.toarray() == pytest.approx(np.array([[0.5, 0.5, 0.25], [0, 0.75, 0], [0, 0, 0]]))
    assert (scores.data > 0).all()
