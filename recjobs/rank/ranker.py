"""The trained ranker: probabilities per task for pairs, saved with all that scoring needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recjobs import storage
from recjobs.errors import ModelError
from recjobs.rank.block import Block, FloatArray, Layout
from recjobs.rank.dlrm import BLOCKS, Dlrm, check_layout
from recjobs.rank.features import FeatureSpec

MODEL_FOLDER, ABOUT_FILE = "ranker", "ranker.json"


@dataclass(frozen=True)
class About:
    """What must be known of a ranker to use it; `ranker.json`."""

    tasks: tuple[str, ...]
    utility: tuple[float, ...]
    """Weight of each task's probability in the final score."""
    blend_weight: float
    """0: retrieval order only; 1: ranker only."""
    spec: FeatureSpec
    layouts: dict[str, Layout]

    def to_json(self) -> bytes:
        """The content of `ranker.json`."""
        record = {
            "tasks": self.tasks,
            "utility": self.utility,
            "blend_weight": self.blend_weight,
            "spec": self.spec.to_record(),
            "layouts": {name: layout.to_record() for name, layout in self.layouts.items()},
        }
        return json.dumps(record, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> About:
        """What `to_json` wrote."""
        record = json.loads(content)
        return cls(
            tasks=tuple(record["tasks"]),
            utility=tuple(record["utility"]),
            blend_weight=record["blend_weight"],
            spec=FeatureSpec.from_record(record["spec"]),
            layouts={name: Layout.from_record(layout) for name, layout in record["layouts"].items()},
        )


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


@dataclass(frozen=True)
class Ranker:
    """A ranker ready to score: in memory after training, or loaded."""

    module: Any
    about: About

    def encode(self, name: str, block: Block) -> tf.Tensor:
        """The block `name` (user, item) encoded once, to be gathered from for every pair.

        Raises:
            ModelError: the block has other features than the ranker was trained on.
        """
        check_layout(self.about.layouts[name], block, name)
        return getattr(self.module, f"encode_{name}")(block.dense, block.sparse)

    def probabilities(
        self,
        users: tf.Tensor,
        items: tf.Tensor,
        user: npt.NDArray[np.integer],
        item: npt.NDArray[np.integer],
        pairs: Block,
        batch_size: int,
    ) -> FloatArray:
        """float32[pairs, tasks]: `users` and `items` encoded; `user` and `item` their rows by pair.

        Raises:
            ModelError: a probability is not finite.
        """
        check_layout(self.about.layouts["pair"], pairs, "pair")
        result = np.empty((len(pairs), len(self.about.tasks)), np.float32)
        for batch in batches(len(pairs), batch_size):
            result[batch] = self.module.probabilities(
                users,
                items,
                user[batch].astype(np.int32),
                item[batch].astype(np.int32),
                pairs.dense[batch],
                pairs.sparse[batch],
            ).numpy()
        bad = int((~np.isfinite(result)).any(axis=1).sum())
        if bad:
            raise ModelError(
                f"the ranker gave values that are not finite for {bad} of {len(pairs)} pairs. "
                "Lower rank.train.learning_rate and run rank/train again."
            )
        return result


def batches(rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `rows` rows in order."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def save_ranker(ranker: Ranker, folder: str) -> None:
    """Writes `ranker/` and `ranker.json` below `folder`."""
    with storage.writing_folder(storage.join(folder, MODEL_FOLDER)) as path:
        tf.saved_model.save(ranker.module, str(path))
    storage.write_bytes(storage.join(folder, ABOUT_FILE), ranker.about.to_json())


def load_ranker(folder: str) -> Ranker:
    """The ranker that `save_ranker` wrote below `folder`.

    Raises:
        ModelError: it can't be loaded.
    """
    about = About.from_json(storage.read_bytes(storage.join(folder, ABOUT_FILE)))
    uri = storage.join(folder, MODEL_FOLDER)
    try:
        with storage.local_folder(uri) as path:
            return Ranker(tf.saved_model.load(str(path)), about)
    except (OSError, ValueError) as error:
        raise ModelError(f"{uri}: the ranker can't be loaded: {error}. Run rank/train again.", uri=uri) from error
