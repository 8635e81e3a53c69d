from __future__ import annotations

import numpy as np
import pytest

from recjobs.errors import ModelError
from recjobs.rank.block import BLOCKS, Block, Layout, check_layout
from recjobs.rank.dlrm import Dlrm, DlrmShape, InteractionArch, Normalise, SparseArch

LAYOUTS = {
    "user": Layout(("a", "b"), (("country", 4),)),
    "item": Layout(("c",), (("id", 9), ("brand", 3))),
    "pair": Layout(("d", "e", "f"), (("rank", 5),)),
}


def inputs(rows: int, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    return {
        name: (
            random.normal(size=(rows, len(layout.dense))).astype(np.float32),
            random.integers(0, layout.sizes, (rows, len(layout.sizes))).astype(np.int32),
        )
        for name, layout in LAYOUTS.items()
    }


def model(tasks: int = 2) -> Dlrm:
    return Dlrm(LAYOUTS, DlrmShape(4, (8, 6), (7,), tasks), np.zeros(tasks))


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("tasks", [1, 3])
def test_logits_have_a_row_per_pair_and_a_column_per_task(rows: int, tasks: int) -> None:
    assert model(tasks)(inputs(rows)).shape == (rows, tasks)


def test_encoding_once_and_gathering_equals_the_plain_model() -> None:
    """Users and items worked out once, then gathered, against every feature of each pair side by side."""
    dlrm, blocks = model(), inputs(6)
    user, item = np.array([0, 0, 3, 5, 3]), np.array([1, 2, 1, 0, 4])
    pair = tuple(part[:5] for part in blocks["pair"])
    plain = dlrm(
        {
            "user": tuple(part[user] for part in blocks["user"]),
            "item": tuple(part[item] for part in blocks["item"]),
            "pair": pair,
        }
    )
    users, items = (dlrm.encode(name, *blocks[name]).numpy() for name in ("user", "item"))
    gathered = dlrm.score(users[user], items[item], dlrm.encode("pair", *pair))
    np.testing.assert_allclose(plain, gathered, rtol=1e-5, atol=1e-6)


def test_interaction_holds_each_dot_product_once() -> None:
    random = np.random.default_rng(0)
    dense, sparse = random.normal(size=(3, 4)).astype(np.float32), random.normal(size=(3, 2, 4)).astype(np.float32)
    result = InteractionArch(2)(dense, sparse).numpy()
    expected = [
        [*dense[b], dense[b] @ sparse[b, 0], dense[b] @ sparse[b, 1], sparse[b, 0] @ sparse[b, 1]] for b in range(3)
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_sparse_tables_do_not_overlap() -> None:
    layer = SparseArch([2, 3], 1, "zeros")
    layer.table.assign(np.arange(5, dtype=np.float32)[:, None])
    assert layer(np.array([[1, 0], [0, 2]], np.int32)).numpy().tolist() == [[1, 2], [0, 4]]


def test_normalise_ignores_what_never_varied_and_clips_the_wild() -> None:
    layer = Normalise(3)
    layer.adapt(np.array([1.0, 5.0, 0.0]), np.array([2.0, 0.0, 1e-3]))
    assert layer(np.array([[3.0, 9.0, 1e6]], np.float32)).numpy().tolist() == [[1.0, 0.0, 8.0]]


def test_every_part_learns() -> None:
    """No weight is left out of the graph: each has a gradient that is not None."""
    import tensorflow as tf

    dlrm = model()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(dlrm(inputs(4)) ** 2)
    gradients = tape.gradient(loss, dlrm.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert len(dlrm.trainable_variables) == len(BLOCKS) * 4 + 1 + 4 + 2 + 2


def test_other_features_are_refused() -> None:
    block = Block(Layout(("a", "z"), (("country", 4),)), np.zeros((1, 2), np.float32), np.zeros((1, 1), np.int32))
    with pytest.raises(ModelError, match=r"other user features: it lacks \['z'\] and expects \['b'\]"):
        check_layout(LAYOUTS["user"], block, "user")
