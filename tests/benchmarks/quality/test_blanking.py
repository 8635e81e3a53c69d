"""An item without its id is what an item of the same content would be that was never seen."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.blanking import TRAIN, item_vectors_without_id
from recjobs import columns as c
from recjobs.manifest import Manifest, cutoffs_of
from recjobs.retrieve.framework import tf

IDS = np.array([[9, 9], [1, 0], [0, 1], [2, 2]], np.float32)
CONTENT = np.array([[0, 0], [5, 5], [6, 6], [7, 7]], np.float32)


class PlantedTower(tf.Module):  # type: ignore[misc]
    """Id plus content, as the item tower is, behind the item tower's signatures."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = tf.Module()
        self.tower.id_embedding = tf.Variable(IDS)
        self.content = tf.constant(CONTENT)
        signature = [tf.TensorSpec([None], tf.int32, name=c.ITEM_INDEX)]
        self.serve = tf.function(self._serve, input_signature=signature)
        self.unseen = tf.function(self._unseen, input_signature=signature)

    def _serve(self, item_index: Any) -> dict[str, Any]:
        return {c.VECTOR: tf.gather(self.tower.id_embedding, item_index) + tf.gather(self.content, item_index)}

    def _unseen(self, item_index: Any) -> dict[str, Any]:
        return {c.VECTOR: tf.gather(self.content, item_index) + self.tower.id_embedding[0]}


def test_the_unknown_id_stands_in_for_the_item_s_own(tmp_path: Path) -> None:
    model = PlantedTower()
    signatures = {"serving_default": model.serve, "unseen": model.unseen}
    tf.saved_model.save(model, str(tmp_path / "item_tower"), signatures=signatures)
    cutoffs = cutoffs_of(date(2026, 1, 1), train_lag_days=0, history_lag_days=0, label_days=1)
    train = Manifest(stage=TRAIN, ds=date(2026, 1, 1), run="r", attempt="a", folder=str(tmp_path), cutoffs=cutoffs)
    found = item_vectors_without_id({TRAIN: train}, np.array([3, 1]))
    np.testing.assert_array_equal(found, [[16, 16], [14, 14]])
