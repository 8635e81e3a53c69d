"""The towers as another stage saved them: loaded, fed, and their vectors checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns, storage
from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.user_features import by_history_length, tower_inputs

Vectors = npt.NDArray[np.float32]

_ITEMS_A_CALL = 8192
_USERS_A_CALL = 4096
_CELLS_A_CALL = 2_000_000


@dataclass(frozen=True)
class TowerFacts:
    """What `towers.json` says of the towers."""

    embedding_size: int
    sequence_length: int
    items: int


def tower_facts(uri: str) -> TowerFacts:
    """The facts at `uri`.

    Raises:
        MissingInputError: nothing is there.
    """
    content = json.loads(storage.read_bytes(uri))
    return TowerFacts(content["embedding_size"], content["sequence_length"], content["items"])


class Tower:
    """A SavedModel's serving signature."""

    def __init__(self, folder: Path) -> None:
        try:
            self._model = tf.saved_model.load(str(folder))
            self._call = self._model.signatures["serving_default"]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{folder}: no SavedModel with a serving signature ({error}). Train again.") from error

    def vectors(self, inputs: dict[str, npt.NDArray[Any]]) -> Vectors:
        """float32[rows, D]."""
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        result: Vectors = self._call(**tensors)[columns.VECTOR].numpy()
        return result


def item_vectors(tower: Tower, items: int) -> Vectors:
    """The vectors of items 1…`items`, cold ones too: float32[items, D].

    Raises:
        ModelError: one is not finite.
    """
    index = np.arange(1, items + 1, dtype=np.int32)
    blocks = [
        tower.vectors({columns.ITEM_INDEX: index[start : start + _ITEMS_A_CALL]})
        for start in range(0, items, _ITEMS_A_CALL)
    ]
    return _finite(np.concatenate(blocks), "item")


def user_vectors(tower: Tower, users: pl.DataFrame, facts: TowerFacts, now: int) -> Vectors:
    """The vectors of `users` (user states), row by row: float32[users, D].

    Raises:
        ModelError: one is not finite.
    """
    vectors = np.zeros((users.height, facts.embedding_size), np.float32)
    for rows in _batches(users, facts.sequence_length):
        vectors[rows] = tower.vectors(tower_inputs(users[rows], length=facts.sequence_length, now=now))
    return _finite(vectors, "user")


def _batches(users: pl.DataFrame, length: int) -> Iterator[npt.NDArray[np.int64]]:
    return by_history_length(users, length=length, most=_USERS_A_CALL, cells=_CELLS_A_CALL)


def _finite(vectors: Vectors, kind: str) -> Vectors:
    faulty = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(faulty):
        raise ModelError(
            f"{len(faulty)} {kind} vectors are not finite, the first at row {faulty[0]}. Train again with a lower "
            "retrieve.train.learning_rate."
        )
    return vectors
