from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recjobs.errors import SettingsError
from recjobs.rank.blend import blended, utility_of, utility_weights
from tests.planted import planted_settings


def test_utility_is_the_weighted_sum_of_probabilities() -> None:
    probabilities = np.array([[0.5, 0.25], [0.0, 1.0]], np.float32)
    assert utility_of(probabilities, (1.0, -2.0)).tolist() == [0.0, -2.0]


def test_weights_are_the_largest_of_a_tasks_types_unless_configured(tmp_path: Path) -> None:
    assert utility_weights(planted_settings(tmp_path)) == (1.0, 4.0)
    configured = planted_settings(tmp_path, rank__train__utility={"click": 0.5})
    assert utility_weights(configured) == (0.5, 4.0)


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no event type has task 'purchases'; tasks are"):
        utility_weights(planted_settings(tmp_path, rank__train__utility={"purchases": 1.0}))


def test_the_ends_of_the_blend_are_the_two_orders() -> None:
    retrieval = np.array([1.0, 0.0, -1.0, 0.5, -0.5], np.float32)
    utility = np.array([0.1, 0.9, 0.2, 0.0, 0.3])
    lengths = np.array([3, 2])
    only_retrieval = blended(retrieval, utility, lengths, 0.0)
    only_ranker = blended(retrieval, utility, lengths, 1.0)
    assert only_retrieval.tolist() == retrieval.tolist()
    assert np.argsort(-only_ranker[:3]).tolist() == [1, 2, 0]
    assert np.argsort(-only_ranker[3:]).tolist() == [1, 0]
