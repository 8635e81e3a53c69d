"""The trained towers as SavedModels with explicit signatures, for another process to load.

`item_tower`: `item_index` int32[N] to `vector` float32[N, D]; its signature `unseen` gives the vectors that the
items would have without an event, from their content alone. `user_tower`: the inputs that
`recjobs.retrieve.user_features` makes, to `vector` float32[B, D]; it carries every item's
representation, so that it needs nothing beside it.
"""

from __future__ import annotations

from typing import Any

from recjobs import columns, storage
from recjobs.errors import ModelError
from recjobs.manifest import Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.signatures import DEFAULT, UNSEEN
from recjobs.retrieve.train.checkpoint import write_checkpoint
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.targets import SECONDS_A_DAY
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.retrieve.user_features import (
    CATEGORICAL,
    DEVICE,
    EVENT_FIELDS,
    EVENT_TYPE,
    HOUR,
    ITEM,
    NOW,
    NUMERIC,
    SIDE_FIELDS,
    TIME,
    TOKENS,
    VECTORS,
)

ITEM_TOWER = "item_tower"
USER_TOWER = "user_tower"
_BLOCK = 8192


class ServingItemTower(tf.Module):  # type: ignore[misc]
    """The item tower behind its signature."""

    def __init__(self, model: TwoTower) -> None:
        super().__init__(name=ITEM_TOWER)
        self.tower = model.items
        signature = [tf.TensorSpec([None], tf.int32, name=columns.ITEM_INDEX)]
        self.serve = tf.function(self._serve, input_signature=signature, autograph=False)
        self.serve_unseen = tf.function(self._serve_unseen, input_signature=signature, autograph=False)

    @property
    def signatures(self) -> dict[str, Any]:
        """What another process can call, by name."""
        return {DEFAULT: self.serve, UNSEEN: self.serve_unseen}

    def _serve(self, item_index: Any) -> dict[str, Any]:
        return {columns.VECTOR: self.tower.vector(self.tower.representation(item_index))}

    def _serve_unseen(self, item_index: Any) -> dict[str, Any]:
        return {columns.VECTOR: self.tower.vector(self.tower.representation(item_index, unseen=True))}


class ServingUserTower(tf.Module):  # type: ignore[misc]
    """The user tower with the items' representations, behind its signature."""

    def __init__(self, model: TwoTower, representation: Any) -> None:
        super().__init__(name=USER_TOWER)
        self.tower = model.users
        self.item_representation = tf.Variable(representation, trainable=False, name="item_representation")
        self.serve = tf.function(self.answer, input_signature=_user_signature(model.users), autograph=False)

    @property
    def signatures(self) -> dict[str, Any]:
        """What another process can call, by name."""
        return {DEFAULT: self.serve}

    def answer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What `serve` gives, step by step instead of as a graph."""
        length = tf.reduce_sum(tf.cast(inputs[ITEM] > 0, tf.int32), axis=1)
        positions = tf.shape(inputs[ITEM])[1] + 1
        query_day = tf.tile((inputs[NOW] // SECONDS_A_DAY)[:, None], [1, positions])
        vectors = self.tower(
            tf.gather(self.item_representation, inputs[ITEM]),
            inputs[EVENT_TYPE],
            inputs[TIME] // SECONDS_A_DAY,
            query_day,
            {name: inputs[name] for name in self.tower.side_inputs()} | visit(inputs, positions),
            training=False,
        )
        return {columns.VECTOR: tf.gather(vectors, length, batch_dims=1)}


def visit(inputs: dict[str, Any], positions: Any) -> dict[str, Any]:
    """Hour and device int64[B, positions], the same at every position, of those that are among the inputs."""
    return {name: tf.tile(inputs[name][:, None], [1, positions]) for name in (HOUR, DEVICE) if name in inputs}


def _user_signature(tower: UserTower) -> list[dict[str, Any]]:
    events = {name: tf.TensorSpec([None, None], tf.int64, name=name) for name in EVENT_FIELDS}
    side = {name: tf.TensorSpec([None], tf.string, name=name) for name in SIDE_FIELDS}
    numbers = {name: tf.TensorSpec([None], tf.int64, name=name) for name in (columns.USER_INDEX, NOW)}
    chosen = [name for name in (HOUR, DEVICE) if name in tower.config.context]
    numbers |= {name: tf.TensorSpec([None], tf.int64, name=name) for name in chosen}
    return [events | side | numbers | _further_signature(tower)]


def _further_signature(tower: UserTower) -> dict[str, Any]:
    if tower.about is None:
        return {}
    further = tower.about.columns
    specs = {
        CATEGORICAL: tf.TensorSpec([None, len(further.categorical)], tf.string, name=CATEGORICAL),
        NUMERIC: tf.TensorSpec([None, len(further.numeric)], tf.float32, name=NUMERIC),
        TOKENS: tf.TensorSpec([None, len(further.text), further.tokens], tf.int64, name=TOKENS),
        VECTORS: tf.TensorSpec([None, sum(further.widths)], tf.float32, name=VECTORS),
    }
    return {name: specs[name] for name in further.inputs()}


def build(model: TwoTower) -> None:
    """Makes the variables that layers make when they are first called, by serving a user of whom nothing is known."""
    specs = _user_signature(model.users)[0]
    nothing = {name: tf.zeros([size or 1 for size in spec.shape], spec.dtype) for name, spec in specs.items()}
    tower = ServingUserTower(model, model.items.both(tf.range(1))[1])
    # Not through `serve`: tracing it takes longer than all else that a warm start does before its first step.
    tower.answer(nothing)


def export(model: TwoTower, optimizer: Any, items: int, out: Output) -> None:
    """Writes both towers and the checkpoint (towers and optimizer) that a later night can go on from.

    Raises:
        ModelError: an item's representation is not finite.
    """
    _, history = representations(model, items)
    _save(ServingItemTower(model), out.uri(ITEM_TOWER))
    _save(ServingUserTower(model, history), out.uri(USER_TOWER))
    write_checkpoint(model, optimizer, out)


def representations(model: TwoTower, items: int) -> tuple[Any, Any]:
    """As candidates and as events of a history, float32[items + 1, D] each, by item index.

    Raises:
        ModelError: one is not finite.
    """
    blocks = [
        model.items.both(tf.range(start, min(start + _BLOCK, items + 1))) for start in range(0, items + 1, _BLOCK)
    ]
    candidates, history = (tf.concat(block, axis=0) for block in zip(*blocks, strict=True))
    if not all(bool(tf.reduce_all(tf.math.is_finite(table))) for table in (candidates, history)):
        raise ModelError(
            "an item's vector is not finite after training. Lower retrieve.train.learning_rate and look for "
            "extreme values in declared numeric columns or ready-made vectors."
        )
    return candidates, history


def _save(tower: Any, uri: str) -> None:
    with storage.writing_folder(uri) as folder:
        tf.saved_model.save(tower, str(folder), signatures=tower.signatures)
