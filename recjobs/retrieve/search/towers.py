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
from recjobs.device_codes import UNKNOWN
from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.signatures import DEFAULT, UNSEEN
from recjobs.retrieve.user_features import (
    HISTORY_COLUMNS,
    NO_COLUMNS,
    STATE_COLUMNS,
    UserColumns,
    by_history_length,
    context_columns,
    tower_inputs,
)

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
    user_columns: UserColumns = NO_COLUMNS
    context: tuple[str, ...] = ()
    device: str | None = None

    def state_columns(self) -> tuple[str, ...]:
        """The columns of user states that the user tower reads."""
        return (*STATE_COLUMNS, *self.user_columns.state_columns(), *context_columns(self.context))


def tower_facts(uri: str) -> TowerFacts:
    """The facts at `uri`.

    Raises:
        MissingInputError: nothing is there.
    """
    content = json.loads(storage.read_bytes(uri))
    further = {name: _frozen(value) for name, value in content["user_columns"].items()}
    return TowerFacts(
        content["embedding_size"],
        content["sequence_length"],
        content["items"],
        UserColumns(**further),
        tuple(content["context"]),
        content["device"],
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Tower:
    """A SavedModel's serving signatures."""

    def __init__(self, folder: Path) -> None:
        try:
            self._model = tf.saved_model.load(str(folder))
            self._signatures = {name: self._model.signatures[name] for name in self._model.signatures}
            self._signatures[DEFAULT]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{folder}: no SavedModel with a serving signature ({error}). Train again.") from error

    def vectors(self, inputs: dict[str, npt.NDArray[Any]], signature: str = DEFAULT) -> Vectors:
        """float32[rows, D]."""
        tensors = {name: tf.constant(values) for name, values in inputs.items()}
        result: Vectors = self._signatures[signature](**tensors)[columns.VECTOR].numpy()
        return result


def item_vectors(tower: Tower, items: int, unseen: bool = False) -> Vectors:
    """The vectors of items 1…`items`, cold ones too: float32[items, D].

    `unseen` gives what they would be without an event, from their content alone.

    Raises:
        ModelError: one is not finite.
    """
    index = np.arange(1, items + 1, dtype=np.int32)
    blocks = [
        tower.vectors({columns.ITEM_INDEX: index[start : start + _ITEMS_A_CALL]}, UNSEEN if unseen else DEFAULT)
        for start in range(0, items, _ITEMS_A_CALL)
    ]
    return _finite(np.concatenate(blocks), "item")


def user_vectors(
    tower: Tower, users: pl.DataFrame, facts: TowerFacts, now: int, *, unseen: bool = False, history: bool = True
) -> Vectors:
    """The vectors of `users` (user states), row by row: float32[users, D].

    `unseen` gives what they would be for users whom training never saw; without `history` besides, for
    users who never did anything: side features alone are left.

    Raises:
        ModelError: one is not finite.
    """
    states = _disguised(users, unseen=unseen, history=history)
    vectors = np.zeros((users.height, facts.embedding_size), np.float32)
    for rows in _batches(states, facts.sequence_length):
        inputs = tower_inputs(
            states[rows],
            length=facts.sequence_length,
            now=now,
            further=facts.user_columns,
            context=facts.context,
            device=facts.device,
        )
        vectors[rows] = tower.vectors(inputs)
    return _finite(vectors, "user")


def _disguised(users: pl.DataFrame, *, unseen: bool, history: bool) -> pl.DataFrame:
    """`users` with the index of the unknown, or with empty histories."""
    if unseen:
        users = users.with_columns(pl.lit(0, pl.Int32).alias(columns.USER_INDEX))
    if not history:
        users = users.with_columns(pl.col(*HISTORY_COLUMNS).list.head(0))
        if columns.USUAL_DEVICE in users.columns:
            users = users.with_columns(pl.lit(UNKNOWN, pl.Int64).alias(columns.USUAL_DEVICE))
    return users


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
