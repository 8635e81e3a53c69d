"""Vectors of users and items as if their ids had never been seen: by features, and for users by history, alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quality.ranking import Scores
from recjobs import columns as c
from recjobs import storage
from recjobs.manifest import Manifest
from recjobs.retrieve.framework import tf
from recjobs.retrieve.search.towers import Tower, tower_facts, user_vectors
from recjobs.retrieve.user_features import list_time

WITH_ID, WITHOUT_ID, WITHOUT_HISTORY = "with id", "without id", "without id and history"
TRAIN = "retrieve/train"
SERVING, UNSEEN = "serving_default", "unseen"
"""Signatures of the item tower."""
_HISTORY = (c.HISTORY_ITEM, c.HISTORY_TYPE, c.HISTORY_TIME)


def user_matrices(steps: Mapping[str, Manifest], states: pl.DataFrame) -> dict[str, Scores]:
    """float32[U, D] of the users of `states`: as they are, with the unknown id, and with an empty history besides."""
    train = steps[TRAIN]
    facts, now = tower_facts(train.uri("towers.json")), list_time(train.cutoffs.history_until)
    unknown = states.with_columns(pl.lit(0, dtype=states.schema[c.USER_INDEX]).alias(c.USER_INDEX))
    new = unknown.with_columns(pl.col(name).list.head(0) for name in _HISTORY)
    with storage.local_folder(train.uri("user_tower")) as folder:
        tower = Tower(folder)
        variants = {WITH_ID: states, WITHOUT_ID: unknown, WITHOUT_HISTORY: new}
        return {name: user_vectors(tower, users, facts, now) for name, users in variants.items()}


def item_vectors_without_id(steps: Mapping[str, Manifest], items: npt.NDArray[np.integer]) -> Scores:
    """float32[len(items), D]: the vectors that `items` would have without an event, from their content alone."""
    with storage.local_folder(steps[TRAIN].uri("item_tower")) as folder:
        model = tf.saved_model.load(str(folder))
    if UNSEEN not in model.signatures:
        _forget_ids(model.tower.id_embedding, items)
    called = model.signatures[UNSEEN if UNSEEN in model.signatures else SERVING]
    vectors: Scores = called(**{c.ITEM_INDEX: tf.constant(items.astype(np.int32))})[c.VECTOR].numpy()
    return vectors


def _forget_ids(table: Any, items: npt.NDArray[np.integer]) -> None:
    """Puts the unknown id's row in the place of the rows of `items`: for towers without a signature for it."""
    known = table.numpy()
    known[items] = known[0]
    table.assign(known)
