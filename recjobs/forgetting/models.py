"""Users' rows in the towers: an embedding has one for every user with an index, the checkpoint its moments as well.

The row becomes zeros. Everything else that a model learnt from a user is spread over all weights and goes with the
next training.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from recjobs import storage

USER_EMBEDDING = "user_embedding"
"""The name of the variable in `recjobs/retrieve/train/user_tower.py`, and of its moments in the optimizer."""
_INDEX, _DATA = ".index", ".data-00000-of-00001"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def bundles(names: Collection[str]) -> list[str]:
    """What TensorFlow keeps variables in, among these file names: an index and its data under one name."""
    found = [name.removesuffix(_INDEX) for name in names if name.endswith(_INDEX)]
    return [name for name in found if f"{name}{_DATA}" in names]


def files_of(bundle: str) -> tuple[str, str]:
    """The names of a bundle's files."""
    return f"{bundle}{_INDEX}", f"{bundle}{_DATA}"


def rows_in_bundle(uri: str, rows: Sequence[int]) -> int:
    """How many of `rows` of the users' embedding and its moments hold anything."""
    with _reader(uri) as reader:
        tensors = {name: reader.get_tensor(name) for name in _user_tensors(reader)}
    return sum(int(tensor[_within(tensor, rows)].any(axis=1).sum()) for tensor in tensors.values())


def rewrite_bundle(uri: str, target: str, rows: Sequence[int]) -> None:
    """The bundle at `target` with `rows` of the users' embedding and its moments zero, everything else as it is."""
    import tensorflow as tf

    with _reader(uri) as reader, tempfile.TemporaryDirectory(prefix="recjobs-") as folder:
        tensors = {name: reader.get_tensor(name) for name in sorted(reader.get_variable_to_shape_map())}
        for name in _user_tensors(reader):
            tensors[name][_within(tensors[name], rows)] = 0
        after = f"{folder}/after"
        tf.raw_ops.SaveV2(
            prefix=after,
            tensor_names=list(tensors),
            shape_and_slices=[""] * len(tensors),
            tensors=[tf.constant(tensor) for tensor in tensors.values()],
        )
        for suffix in (_DATA, _INDEX):
            storage.write_bytes(f"{target}{suffix}", Path(f"{after}{suffix}").read_bytes())


def _within(tensor: Any, rows: Sequence[int]) -> list[int]:
    return [row for row in rows if row < len(tensor)]


@contextlib.contextmanager
def _reader(uri: str) -> Iterator[Any]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory(prefix="recjobs-") as folder:
        for suffix in (_INDEX, _DATA):
            Path(f"{folder}/before{suffix}").write_bytes(storage.read_bytes(f"{uri}{suffix}"))
        yield tf.train.load_checkpoint(f"{folder}/before")


def _user_tensors(reader: Any) -> list[str]:
    """The keys of the users' embedding and of its moments: by the variables' names, which the bundle keeps."""
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    shapes = reader.get_variable_to_shape_map()
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_GRAPH))
    names = {
        attribute.checkpoint_key: f"{attribute.full_name}/{attribute.checkpoint_key}"
        for node in graph.nodes
        for attribute in node.attributes
    }
    return sorted(key for key, name in names.items() if USER_EMBEDDING in name and len(shapes.get(key, ())) == 2)
