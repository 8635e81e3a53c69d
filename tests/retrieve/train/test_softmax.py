from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.retrieve.framework import tf
from recjobs.retrieve.train import softmax
from recjobs.retrieve.train.softmax import weighted_log_normaliser


@tf.function(
    input_signature=[
        tf.TensorSpec([None, 8]),
        tf.TensorSpec([None]),
        tf.TensorSpec([None, 8]),
    ]
)
def both(users: Any, weight: Any, table: Any) -> Any:
    """Value and gradients of ours, then of the plain formula."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([users, table])
        ours = 3.0 * weighted_log_normaliser(users, weight, table)
        plain = 3.0 * tf.reduce_sum(weight * tf.reduce_logsumexp(users @ tf.transpose(table), axis=1))
    return [(loss, *tape.gradient(loss, [users, table])) for loss in (ours, plain)]


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(softmax, "_CELLS_ON_CPU", 2048)
        yield


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 70), items=st.integers(1, 300), seed=st.integers(0, 99), scale=st.sampled_from([0.1, 40.0]))
def test_value_and_gradients_are_those_of_the_plain_formula(rows: int, items: int, seed: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    users, table = scale * random.normal(size=(rows, 8)), random.normal(size=(items, 8))
    ours, plain = both(*(values.astype(np.float32) for values in (users, random.random(rows), table)))
    for mine, theirs in zip(ours, plain, strict=True):
        assert mine.numpy() == pytest.approx(theirs.numpy(), rel=1e-3, abs=1e-4 * max(scale, 1.0))
