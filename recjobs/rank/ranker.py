"""The trained ranker: probabilities per task for pairs, saved with all that scoring needs. Without TensorFlow."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recjobs import storage
from recjobs.errors import MissingInputError, ModelError
from recjobs.rank.block import Block, FloatArray, Layout, check_layout
from recjobs.rank.features import FeatureSpec
from recjobs.rank.inference import Encoded, Inference
from recjobs.rank.weights import Weights

WEIGHTS_FILE, ABOUT_FILE = "ranker.npz", "ranker.json"


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


@dataclass(frozen=True)
class Ranker:
    """A ranker ready to score: in memory after training, or loaded."""

    weights: Weights
    about: About

    @cached_property
    def _inference(self) -> Inference:
        return Inference(self.weights)

    def encode(self, name: str, block: Block) -> Encoded:
        """The block `name` (user, item) encoded once, to be gathered from for every pair.

        Raises:
            ModelError: the block has other features than the ranker was trained on.
        """
        check_layout(self.about.layouts[name], block, name)
        return self._inference.encode(name, block)

    def probabilities(
        self,
        users: Encoded,
        items: Encoded,
        user: npt.NDArray[np.integer],
        item: npt.NDArray[np.integer],
        pairs: Block,
        batch_size: int,
    ) -> FloatArray:
        """float32[pairs, tasks]: `users` and `items` encoded; `user` and `item` their rows by pair.

        Fastest where a user's pairs stand together. Several threads may call at once.

        Raises:
            ModelError: a probability is not finite.
        """
        check_layout(self.about.layouts["pair"], pairs, "pair")
        result = self._inference.probabilities(users, items, user, item, pairs, batch_size)
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
    """Writes `ranker.npz` and `ranker.json` below `folder`."""
    storage.write_bytes(storage.join(folder, WEIGHTS_FILE), ranker.weights.to_bytes())
    storage.write_bytes(storage.join(folder, ABOUT_FILE), ranker.about.to_json())


def load_ranker(folder: str) -> Ranker:
    """The ranker that `save_ranker` wrote below `folder`.

    Raises:
        ModelError: it can't be loaded.
    """
    about = About.from_json(storage.read_bytes(storage.join(folder, ABOUT_FILE)))
    uri = storage.join(folder, WEIGHTS_FILE)
    try:
        return Ranker(Weights.from_bytes(storage.read_bytes(uri)), about)
    except (MissingInputError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"{uri}: the ranker can't be loaded: {error}. Run rank/train again.", uri=uri) from error
