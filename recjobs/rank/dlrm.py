"""DLRM (arXiv:1906.00091) with a wide linear part (arXiv:1606.07792) and one head per task over a shared bottom.

B is a batch's pairs, D dense features, F sparse features, K the embedding size, T tasks. Inputs come in three
blocks: users, items, pairs. The first dense layer is linear, so W[user; item; pair] = Wu user + Wi item + Wp pair:
a user's part, embeddings included, is worked out once per user and an item's once per item (`BlockEncoder`), and
pairs only gather and add (`Dlrm.score`). What is worked out is the plain DLRM over all features side by side.
Nights are scored without TensorFlow, from the same weights (`recjobs.rank.inference`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
import tf_keras as keras

from recjobs.rank.block import BLOCKS, NORMAL_LIMIT, FloatArray, Layout
from recjobs.rank.weights import BlockWeights, Layer, Weights


@dataclass(frozen=True)
class DlrmShape:
    """Widths of the model."""

    embedding_size: int
    dense_layers: tuple[int, ...]
    over_layers: tuple[int, ...]
    tasks: int


class Normalise(keras.layers.Layer):  # type: ignore[misc]
    """Dense features [B, D] on their training mean and deviation, clipped to ±8. `adapt` learns them.

    A feature that never varied in training is always 0.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mean = self.add_weight(name="mean", shape=(width,), initializer="zeros", trainable=False)
        self.scale = self.add_weight(name="scale", shape=(width,), initializer="ones", trainable=False)

    def adapt(self, mean: Any, deviation: Any) -> None:
        """Takes over `mean` [D] and `deviation` [D] of the training pairs."""
        varied = deviation > 1e-6 * np.maximum(1.0, np.abs(mean))
        self.mean.assign(mean.astype(np.float32))
        self.scale.assign(np.where(varied, 1.0 / np.where(varied, deviation, 1.0), 0.0).astype(np.float32))

    def call(self, dense: tf.Tensor) -> tf.Tensor:
        return tf.clip_by_value((dense - self.mean) * self.scale, -NORMAL_LIMIT, NORMAL_LIMIT)


class SparseArch(keras.layers.Layer):  # type: ignore[misc]
    """Embeds sparse features: int32[B, F] -> float32[B, F * width], features side by side.

    Feature f's indices are in [0, sizes[f]). One variable holds all tables, one below the other, so that a block
    takes a single gather.
    """

    def __init__(self, sizes: Sequence[int], width: int, initializer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._features, self._width = len(sizes), width
        self.offsets = tf.constant(np.cumsum([0, *sizes[:-1]]) if sizes else [], tf.int32)
        self.table = self.add_weight(name="table", shape=(max(sum(sizes), 1), width), initializer=initializer)

    def call(self, sparse: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tf.gather(self.table, sparse + self.offsets), [-1, self._features * self._width])


class DenseArch(keras.layers.Layer):  # type: ignore[misc]
    """The rest of the dense arch above its first linear layer: [B, H] -> [B, K]."""

    def __init__(self, widths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_layers = [keras.layers.Dense(width, activation="relu") for width in widths]

    def call(self, hidden: tf.Tensor) -> tf.Tensor:
        result = tf.nn.relu(hidden)
        for layer in self.hidden_layers:
            result = layer(result)
        return result


class InteractionArch(keras.layers.Layer):  # type: ignore[misc]
    """Dot products of all pairs of feature vectors, beside the dense one (arXiv:1906.00091, §2.1.3).

    dense [B, K] and sparse [B, F, K] -> [B, K + (F + 1) * F / 2].
    """

    def __init__(self, features: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width = features + 1
        rows, columns = np.tril_indices(width, -1)
        self._below = tf.constant(rows * width + columns, tf.int32)
        self._width = width

    def call(self, dense: tf.Tensor, sparse: tf.Tensor) -> tf.Tensor:
        vectors = tf.concat([dense[:, tf.newaxis, :], sparse], axis=1)
        dots = tf.reshape(tf.matmul(vectors, vectors, transpose_b=True), [-1, self._width * self._width])
        return tf.concat([dense, tf.gather(dots, self._below, axis=1)], axis=1)


class BlockEncoder(keras.layers.Layer):  # type: ignore[misc]
    """One block's share of the model: dense [n, D], sparse [n, F] -> [n, H + F * K + T].

    Side by side: its part of the first dense layer (H), its embeddings (F * K), its part of the wide logits (T).
    """

    def __init__(self, layout: Layout, hidden: int, shape: DlrmShape, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.normalise = Normalise(len(layout.dense))
        self.project = keras.layers.Dense(hidden, use_bias=False)
        self.embed = SparseArch(layout.sizes, shape.embedding_size, keras.initializers.RandomNormal(stddev=0.05))
        self.wide_dense = keras.layers.Dense(shape.tasks, use_bias=False, kernel_initializer="zeros")
        self.wide_sparse = SparseArch(layout.sizes, shape.tasks, "zeros")
        self._features, self._tasks = len(layout.sparse), shape.tasks

    def call(self, dense: tf.Tensor, sparse: tf.Tensor) -> tf.Tensor:
        normal = self.normalise(dense)
        wide = tf.reshape(self.wide_sparse(sparse), [-1, self._features, self._tasks])
        logits = self.wide_dense(normal) + tf.reduce_sum(wide, axis=1)
        return tf.concat([self.project(normal), self.embed(sparse), logits], axis=1)


class Dlrm(keras.Model):  # type: ignore[misc]
    """Logits [B, T] of (user, item) pairs from three blocks of features."""

    def __init__(self, layouts: dict[str, Layout], shape: DlrmShape, prior: Any) -> None:
        """`prior` float32[T]: each task's logit of its base rate, where the heads' biases start."""
        super().__init__()
        self._config = {"layouts": layouts, "shape": shape, "prior": prior}
        hidden, *rest = (*shape.dense_layers, shape.embedding_size)
        self._hidden, self._size, self._tasks = hidden, shape.embedding_size, shape.tasks
        self.encoders = {name: BlockEncoder(layouts[name], hidden, shape) for name in BLOCKS}
        self.bias = self.add_weight(name="bias", shape=(hidden,), initializer="zeros")
        self.dense_arch = DenseArch(rest)
        self._features = sum(len(layouts[name].sparse) for name in BLOCKS)
        self.interaction = InteractionArch(self._features)
        self.bottom = [keras.layers.Dense(width, activation="relu") for width in shape.over_layers]
        self.heads = keras.layers.Dense(shape.tasks, bias_initializer=keras.initializers.Constant(prior))

    def get_config(self) -> dict[str, Any]:
        """JSON-serialisable values; `from_config` builds the same untrained model."""
        layouts: dict[str, Layout] = self._config["layouts"]
        return {
            "layouts": {name: layout.to_record() for name, layout in layouts.items()},
            "shape": asdict(self._config["shape"]),
            "prior": [float(value) for value in self._config["prior"]],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Dlrm:
        """The untrained model of `get_config`'s values."""
        layouts = {name: Layout.from_record(record) for name, record in config["layouts"].items()}
        return cls(layouts, DlrmShape(**config["shape"]), np.array(config["prior"]))

    def encode(self, name: str, dense: tf.Tensor, sparse: tf.Tensor) -> tf.Tensor:
        """The block `name` encoded, a row per row."""
        return self.encoders[name](dense, sparse)

    def score(self, users: tf.Tensor, items: tf.Tensor, pairs: tf.Tensor) -> tf.Tensor:
        """Logits [B, T] from encoded rows, row b of each being pair b's."""
        encoded = (users, items, pairs)
        last = -self._tasks
        hidden = tf.add_n([part[:, : self._hidden] for part in encoded])
        wide = tf.add_n([part[:, last:] for part in encoded])
        embedded = tf.concat([part[:, self._hidden : last] for part in encoded], axis=1)
        dense = self.dense_arch(hidden + self.bias)
        result = self.interaction(dense, tf.reshape(embedded, [-1, self._features, self._size]))
        for layer in self.bottom:
            result = layer(result)
        return self.heads(result) + wide

    def call(self, inputs: dict[str, tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
        return self.score(*(self.encode(name, *inputs[name]) for name in BLOCKS))


def weights_of(model: Dlrm, slope: FloatArray, intercept: FloatArray) -> Weights:
    """The weights of `model` and of its calibration, as scoring reads them."""
    return Weights(
        blocks={name: _block_weights(model.encoders[name]) for name in BLOCKS},
        bias=model.bias.numpy(),
        dense=tuple(_layer(layer) for layer in model.dense_arch.hidden_layers),
        over=tuple(_layer(layer) for layer in (*model.bottom, model.heads)),
        slope=np.asarray(slope, np.float32),
        intercept=np.asarray(intercept, np.float32),
    )


def _block_weights(encoder: BlockEncoder) -> BlockWeights:
    return BlockWeights(
        mean=encoder.normalise.mean.numpy(),
        scale=encoder.normalise.scale.numpy(),
        project=encoder.project.kernel.numpy(),
        tables=encoder.embed.table.numpy(),
        offsets=encoder.embed.offsets.numpy(),
        wide_dense=encoder.wide_dense.kernel.numpy(),
        wide_tables=encoder.wide_sparse.table.numpy(),
    )


def _layer(layer: Any) -> Layer:
    return Layer(layer.kernel.numpy(), layer.bias.numpy())
