"""The trained towers as SavedModels with explicit signatures, for another process to load.

`item_tower`: `item_index` int32[N] to `vector` float32[N, D]. `user_tower`: the inputs that
`recjobs.retrieve.user_features` makes, to `vector` float32[B, D]; it carries every item's
representation, so that it needs nothing beside it.
"""

from __future__ import annotations

from typing import Any

from recjobs import columns, storage
from recjobs.errors import ModelError
from recjobs.manifest import Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.checkpoint import write_checkpoint
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.targets import SECONDS_A_DAY
from recjobs.retrieve.user_features import EVENT_FIELDS, EVENT_TYPE, ITEM, NOW, SIDE_FIELDS, TIME

ITEM_TOWER = "item_tower"
USER_TOWER = "user_tower"
_BLOCK = 8192


class ServingItemTower(tf.Module):  # type: ignore[misc]
    """The item tower behind its signature."""

    def __init__(self, model: TwoTower) -> None:
        super().__init__(name=ITEM_TOWER)
        self.tower = model.items
        self.serve = tf.function(
            self._serve, input_signature=[tf.TensorSpec([None], tf.int32, name=columns.ITEM_INDEX)]
        )

    def _serve(self, item_index: Any) -> dict[str, Any]:
        return {columns.VECTOR: self.tower.vector(self.tower.representation(item_index))}


class ServingUserTower(tf.Module):  # type: ignore[misc]
    """The user tower with the items' representations, behind its signature."""

    def __init__(self, model: TwoTower, representation: Any) -> None:
        super().__init__(name=USER_TOWER)
        self.tower = model.users
        self.item_representation = tf.Variable(representation, trainable=False, name="item_representation")
        self.serve = tf.function(self._serve, input_signature=_user_signature())

    def _serve(self, inputs: dict[str, Any]) -> dict[str, Any]:
        length = tf.reduce_sum(tf.cast(inputs[ITEM] > 0, tf.int32), axis=1)
        positions = tf.shape(inputs[ITEM])[1] + 1
        query_day = tf.tile((inputs[NOW] // SECONDS_A_DAY)[:, None], [1, positions])
        vectors = self.tower(
            tf.gather(self.item_representation, inputs[ITEM]),
            inputs[EVENT_TYPE],
            inputs[TIME] // SECONDS_A_DAY,
            query_day,
            {name: inputs[name] for name in (*SIDE_FIELDS, columns.USER_INDEX)},
            training=False,
        )
        return {columns.VECTOR: tf.gather(vectors, length, batch_dims=1)}


def _user_signature() -> list[dict[str, Any]]:
    events = {name: tf.TensorSpec([None, None], tf.int64, name=name) for name in EVENT_FIELDS}
    side = {name: tf.TensorSpec([None], tf.string, name=name) for name in SIDE_FIELDS}
    numbers = {name: tf.TensorSpec([None], tf.int64, name=name) for name in (columns.USER_INDEX, NOW)}
    return [events | side | numbers]


def build(model: TwoTower) -> None:
    """Makes the variables that layers make when they are first called, by serving a user of whom nothing is known."""
    nothing = {name: tf.zeros([1] * spec.shape.rank, spec.dtype) for name, spec in _user_signature()[0].items()}
    ServingUserTower(model, model.items.representation(tf.range(1))).serve(nothing)


def export(model: TwoTower, optimizer: Any, items: int, out: Output) -> None:
    """Writes both towers and the checkpoint (towers and optimizer) that a later night can go on from.

    Raises:
        ModelError: an item's representation is not finite.
    """
    representation = representations(model, items)
    _save(ServingItemTower(model), out.uri(ITEM_TOWER))
    _save(ServingUserTower(model, representation), out.uri(USER_TOWER))
    write_checkpoint(model, optimizer, out)


def representations(model: TwoTower, items: int) -> Any:
    """float32[items + 1, D] by item index.

    Raises:
        ModelError: one is not finite.
    """
    blocks = [
        model.items.representation(tf.range(start, min(start + _BLOCK, items + 1)))
        for start in range(0, items + 1, _BLOCK)
    ]
    table = tf.concat(blocks, axis=0)
    if not bool(tf.reduce_all(tf.math.is_finite(table))):
        raise ModelError(
            "an item's vector is not finite after training. Lower retrieve.train.learning_rate and look for "
            "extreme values in declared numeric columns or ready-made vectors."
        )
    return table


def _save(tower: Any, uri: str) -> None:
    with storage.writing_folder(uri) as folder:
        tf.saved_model.save(tower, str(folder), signatures={"serving_default": tower.serve})
