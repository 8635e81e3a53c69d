"""The trained ranker as a TensorFlow SavedModel, for whoever wants to serve it. Nights are scored from `ranker.npz`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from recjobs import storage
from recjobs.rank.block import BLOCKS, FloatArray, Layout
from recjobs.rank.dlrm import Dlrm

MODEL_FOLDER = "ranker"


class RankerModule(tf.Module):  # type: ignore[misc]
    """A DLRM with its calibration (Platt: slope and intercept per task, on the logit) as a SavedModel's functions."""

    def __init__(self, model: Dlrm, layouts: dict[str, Layout], slope: FloatArray, intercept: FloatArray) -> None:
        super().__init__()
        self.model = model
        self.slope = tf.Variable(slope, trainable=False, dtype=tf.float32)
        self.intercept = tf.Variable(intercept, trainable=False, dtype=tf.float32)
        for name in BLOCKS:
            setattr(self, f"encode_{name}", self._encoder(name, layouts[name]))
        self.probabilities = self._probabilities(layouts)

    def _encoder(self, name: str, layout: Layout) -> Any:
        return tf.function(
            lambda dense, sparse: self.model.encode(name, dense, sparse),
            input_signature=_block_signature(layout),
        )

    def _probabilities(self, layouts: dict[str, Layout]) -> Any:
        encoded = tf.TensorSpec([None, None], tf.float32)
        rows = tf.TensorSpec([None], tf.int32)

        @tf.function(input_signature=[encoded, encoded, rows, rows, *_block_signature(layouts["pair"])])  # type: ignore[untyped-decorator]
        def probabilities(users: Any, items: Any, user: Any, item: Any, dense: Any, sparse: Any) -> Any:
            pairs = self.model.encode("pair", dense, sparse)
            logits = self.model.score(tf.gather(users, user), tf.gather(items, item), pairs)
            return tf.sigmoid(logits * self.slope + self.intercept)

        return probabilities


def _block_signature(layout: Layout) -> list[tf.TensorSpec]:
    return [
        tf.TensorSpec([None, len(layout.dense)], tf.float32),
        tf.TensorSpec([None, len(layout.sparse)], tf.int32),
    ]


def save_module(module: RankerModule, folder: str) -> None:
    """Writes `ranker/` below `folder`."""
    with storage.writing_folder(storage.join(folder, MODEL_FOLDER)) as path:
        tf.saved_model.save(module, str(path))
