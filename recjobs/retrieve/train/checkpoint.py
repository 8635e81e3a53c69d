"""The checkpoint that a later night goes on from: each weight and the optimizer's moments of it, by the weight's name.

A name is the weight's path in the model, so that it stays the same while other weights come and go;
the optimizer's own numbering would not. `weights.json` beside it says of what settings they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs import storage
from recjobs.errors import CorruptFileError
from recjobs.manifest import Manifest, Output
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.model import TwoTower

CHECKPOINT = "checkpoint"
FACTS = "weights.json"
_BUNDLE = "towers"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOTS = {"m": "_momentums", "v": "_velocities", "accumulator": "_accumulators"}
SHAPING = (
    "encoder", "embedding_size", "sequence_length", "blocks", "heads", "user_embedding", "similarity", "optimizer",
    "history_embedding",
    "country_buckets", "item_buckets",
    "item_embedding", "event_types", "event_ages", "ignored_item_columns", "ignored_user_columns",
)  # fmt: skip
"""Settings without which a weight means something else, or is not there."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """What a training left: `weights` and, of each that was trained, `moments` by slot; `steps` the optimizer took.

    `settings` are those of `SHAPING`.
    """

    weights: Mapping[str, Array]
    moments: Mapping[str, Mapping[str, Array]]
    steps: int
    settings: Mapping[str, Any]


def weights_of(model: TwoTower) -> dict[str, Any]:
    """The trainable variables by name, sorted by it: the path of attributes that leads to each.

    Layers must have been called once (`export.build`), else theirs are not there yet.
    """
    variables = {id(variable): variable for variable in model.trainable_variables}
    names: dict[int, list[str]] = {}
    # The very walk that tf.Module makes `trainable_variables` with; nothing public tells the paths. Keras reaches
    # its variables twice, the second time through lists of its own.
    for path, leaf in model._flatten(predicate=lambda leaf: id(leaf) in variables, with_path=True):
        names.setdefault(id(leaf), []).append("-".join(map(str, path)))
    named = {min(found, key=lambda name: ("-_" in name, name)): variables[key] for key, found in names.items()}
    return {name: named[name] for name in sorted(named)}


def moments_of(model: TwoTower, optimizer: Any) -> dict[str, dict[str, Any]]:
    """The optimizer's variables of each weight that it trains, by slot (Adam's m and v, Adagrad's accumulator)."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    places = optimizer._index_dict
    slots = {slot: getattr(optimizer, name) for slot, name in _SLOTS.items() if hasattr(optimizer, name)}
    return {
        name: {slot: held[places[optimizer._var_key(variable)]] for slot, held in slots.items()}
        for name, variable in weights_of(model).items()
        if optimizer._var_key(variable) in places
    }


def shaping(settings: RetrieveTrainConfig) -> dict[str, Any]:
    """The settings that a checkpoint must share with the night that goes on from it."""
    return settings.model_dump(mode="json", include=set(SHAPING))


def write_checkpoint(model: TwoTower, optimizer: Any, out: Output) -> None:
    """Writes `checkpoint/`."""
    with storage.writing_folder(out.uri(CHECKPOINT)) as folder:
        tf.train.Checkpoint(
            weights=weights_of(model), moments=moments_of(model, optimizer), steps=optimizer.iterations
        ).write(str(folder / _BUNDLE))
        (folder / FACTS).write_text(json.dumps({"settings": shaping(model.config)}, indent=1))


def read_checkpoint(trained: Manifest) -> Checkpoint:
    """The checkpoint of an earlier night.

    Raises:
        CorruptFileError: it can't be read, or is of a version that kept it in another way.
        MissingInputError: it is not there.
    """
    with storage.local_folder(trained.uri(CHECKPOINT)) as folder:
        try:
            settings = json.loads((folder / FACTS).read_text())["settings"]
            reader = tf.train.load_checkpoint(str(folder / _BUNDLE))
            names = [name for name in reader.get_variable_to_shape_map() if name.endswith(_VALUE)]
            held = {name.removesuffix(_VALUE): np.asarray(reader.get_tensor(name)) for name in names}
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise CorruptFileError(
                f"{folder}: not a checkpoint that a warm start can go on from ({error}). Train this night in full: "
                "set retrieve.train.warm_start=false for one run.",
                uri=trained.folder,
            ) from error
    return _sorted_out(held, settings)


def _sorted_out(held: Mapping[str, Array], settings: Mapping[str, Any]) -> Checkpoint:
    weights: dict[str, Array] = {}
    moments: dict[str, dict[str, Array]] = {}
    for key, value in held.items():
        kind, _, rest = key.partition("/")
        if kind == "weights":
            weights[rest] = value
        elif kind == "moments":
            name, _, slot = rest.rpartition("/")
            moments.setdefault(name, {})[slot] = value
    return Checkpoint(weights, moments, int(held["steps"]), settings)
