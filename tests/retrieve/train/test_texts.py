from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.texts import Scales, mean_of_tokens, token_table

SIZE = 3
TOKENS = st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1, max_size=5)


def by_hand(table: npt.NDArray[np.float32], tokens: list[list[int]]) -> npt.NDArray[np.float32]:
    rows = [[table[token] for token in row if token] for row in tokens]
    return np.array([np.mean(row, axis=0) if row else np.zeros(SIZE) for row in rows], np.float32)


@given(TOKENS)
@settings(max_examples=25, deadline=None)
def test_a_text_is_the_mean_of_its_known_tokens(tokens: list[list[int]]) -> None:
    table = token_table(6, SIZE)
    found = mean_of_tokens(table, tf.constant(tokens, tf.int32)).numpy()
    assert found == pytest.approx(by_hand(table.numpy(), tokens), abs=1e-6)


@pytest.mark.parametrize("tokens", [[[0, 0], [0, 0]], [[0, 0], [4, 4]], [[1, 2], [2, 0]]])
def test_gradients_reach_the_tokens_that_are_there_and_no_other(tokens: list[list[int]]) -> None:
    table = token_table(6, SIZE)
    for _ in range(5):  # uninitialised memory is not always wrong
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(mean_of_tokens(table, tf.constant(tokens, tf.int64)))
        gradient: Any = tf.convert_to_tensor(tape.gradient(total, table)).numpy()
        expected = np.zeros((6, SIZE))
        for row in tokens:
            known = [token for token in row if token]
            for token in known:
                expected[token] += 1 / len(known)
        assert gradient == pytest.approx(expected)


def test_further_columns_are_scaled_and_the_first_is_not() -> None:
    scales = Scales(2, SIZE)
    scales.factors[0].assign([2.0, 0.0, 1.0])
    assert len(scales.trainable_variables) == 1
    assert scales([tf.ones([1, SIZE]), tf.ones([1, SIZE])]).numpy().tolist() == [[3.0, 1.0, 2.0]]
