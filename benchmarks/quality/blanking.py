"""Vectors of users and items as if their ids had never been seen: by features, and for users by history, alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quality.ranking import Scores
from recjobs import columns as c
from recjobs import storage
from recjobs.manifest import Manifest
from recjobs.retrieve.search.towers import Tower, item_vectors, tower_facts, user_vectors
from recjobs.retrieve.signatures import UNSEEN
from recjobs.retrieve.user_features import list_time

WITH_ID, WITHOUT_ID, WITHOUT_HISTORY = "with id", "without id", "without id and history"
TRAIN = "retrieve/train"


def user_matrices(steps: Mapping[str, Manifest], states: pl.DataFrame) -> dict[str, Scores]:
    """float32[U, D] of the users of `states`: as they are, with the unknown id, and with an empty history besides."""
    train = steps[TRAIN]
    facts, now = tower_facts(train.uri("towers.json")), list_time(train.cutoffs.history_until)
    with storage.local_folder(train.uri("user_tower")) as folder:
        tower = Tower(folder)
    return {
        WITH_ID: user_vectors(tower, states, facts, now),
        WITHOUT_ID: user_vectors(tower, states, facts, now, unseen=True),
        WITHOUT_HISTORY: user_vectors(tower, states, facts, now, unseen=True, history=False),
    }


def item_matrix(steps: Mapping[str, Manifest], items: int) -> Scores:
    """float32[items + 1, D]: the vectors of items 1…`items` as the tower gives them; row 0 is zero."""
    with storage.local_folder(steps[TRAIN].uri("item_tower")) as folder:
        return np.pad(item_vectors(Tower(folder), items), ((1, 0), (0, 0)))


def item_vectors_without_id(steps: Mapping[str, Manifest], items: npt.NDArray[np.integer]) -> Scores:
    """float32[len(items), D]: the vectors that `items` would have without an event, from their content alone."""
    with storage.local_folder(steps[TRAIN].uri("item_tower")) as folder:
        tower = Tower(folder)
    return tower.vectors({c.ITEM_INDEX: items.astype(np.int32)}, UNSEEN)
