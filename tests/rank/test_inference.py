"""Scoring without TensorFlow gives what the TensorFlow model gives, whatever its shape and however pairs stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.block import BLOCKS, Block, Layout
from recjobs.rank.dlrm import Dlrm, DlrmShape, weights_of
from recjobs.rank.inference import Inference
from recjobs.rank.weights import Weights
from tests.rank.test_dlrm import LAYOUTS

SLOPE, INTERCEPT = np.array([0.7, 1.3], np.float32), np.array([0.2, -0.4], np.float32)
SHAPES = [
    DlrmShape(4, (8, 6), (7,), 2),
    DlrmShape(4, (8,), (7, 5), 2),
    DlrmShape(3, (), (), 2),
]
MANY_SPARSE_PAIRS = {**LAYOUTS, "pair": replace(LAYOUTS["pair"], sparse=(("rank", 5), ("cross", 6), ("due", 3)))}


def a_model(layouts: dict[str, Layout], shape: DlrmShape) -> Dlrm:
    """Random weights, so that every part has a say; the second pair feature never varied."""
    model = Dlrm(layouts, shape, np.zeros(2))
    model({name: (block.dense, block.sparse) for name, block in blocks(layouts, 1).items()})
    random = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape) * 0.5)
    for name in BLOCKS:
        width = len(layouts[name].dense)
        model.encoders[name].normalise.adapt(random.normal(size=width), 1.0 + np.arange(width))
    model.encoders["pair"].normalise.adapt(np.zeros(3), np.array([1.0, 0.0, 2.0]))
    return model


def blocks(layouts: dict[str, Layout], rows: int, seed: int = 0) -> dict[str, Block]:
    random = np.random.default_rng(seed)
    return {
        name: Block(
            layout,
            random.normal(size=(rows, len(layout.dense))).astype(np.float32) * 3,
            random.integers(0, np.array(layout.sizes, np.int64), (rows, len(layout.sizes))).astype(np.int32),
        )
        for name, layout in layouts.items()
    }


def plain(model: Dlrm, given: dict[str, Block], user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """The model over every feature of each pair side by side, calibrated."""
    parts = {"user": given["user"].take(user), "item": given["item"].take(item), "pair": given["pair"]}
    logits = model({name: (block.dense, block.sparse) for name, block in parts.items()}).numpy()
    return 1.0 / (1.0 + np.exp(-(logits * SLOPE + INTERCEPT)))


def ours(model: Dlrm, given: dict[str, Block], user: np.ndarray, item: np.ndarray, batch_size: int) -> np.ndarray:
    inference = Inference(weights_of(model, SLOPE, INTERCEPT))
    encoded = {name: inference.encode(name, given[name]) for name in ("user", "item")}
    return inference.probabilities(encoded["user"], encoded["item"], user, item, given["pair"], batch_size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layouts", [LAYOUTS, MANY_SPARSE_PAIRS])
def test_it_is_the_model(layouts: dict[str, Layout], shape: DlrmShape) -> None:
    model, given = a_model(layouts, shape), blocks(layouts, 12)
    user, item = np.repeat([2, 0, 7], 4), np.arange(12)[::-1]
    expected = plain(model, given, user, item)
    assert expected.std() > 0.05
    np.testing.assert_allclose(ours(model, given, user, item, 8), expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def model() -> Dlrm:
    return a_model(LAYOUTS, SHAPES[0])


@settings(deadline=None, max_examples=20)
@given(user=st.lists(st.integers(0, 3), min_size=0, max_size=30), batch_size=st.integers(1, 40), sort=st.booleans())
def test_it_does_not_matter_how_pairs_stand(model: Dlrm, user: list[int], batch_size: int, sort: bool) -> None:
    """Users with unequally many pairs, in one piece or not, and batches that cut them."""
    rows = np.array(sorted(user) if sort else user, np.int64)
    given = blocks(LAYOUTS, max(len(rows), 4))
    pairs = {**given, "pair": given["pair"].take(np.arange(len(rows)))}
    item = np.arange(len(rows)) % 4
    found = ours(model, pairs, rows, item, batch_size)
    assert found.shape == (len(rows), 2)
    if len(rows):
        np.testing.assert_allclose(found, plain(model, pairs, rows, item), rtol=1e-4, atol=1e-6)


def test_extreme_logits_are_0_and_1_without_a_warning(model: Dlrm) -> None:
    weights = weights_of(model, SLOPE * 0, np.array([-1e4, 1e4], np.float32))
    inference, given = Inference(weights), blocks(LAYOUTS, 3)
    users, items = inference.encode("user", given["user"]), inference.encode("item", given["item"])
    with np.errstate(all="raise", under="ignore"):
        found = inference.probabilities(users, items, np.arange(3), np.arange(3), given["pair"], 8)
    assert found.tolist() == [[0.0, 1.0]] * 3


def test_weights_come_back_from_bytes(model: Dlrm) -> None:
    weights = weights_of(model, SLOPE, INTERCEPT)
    again = Weights.from_bytes(weights.to_bytes())
    assert again.to_bytes() == weights.to_bytes()
    assert [layer.kernel.shape for layer in again.over] == [layer.kernel.shape for layer in weights.over]
