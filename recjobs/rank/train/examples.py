"""Examples of one shard: earlier candidates with the features of their time and the outcomes that followed."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from recjobs import columns, storage
from recjobs.manifest import Manifest
from recjobs.rank.block import Block, FloatArray, Layout, stacked
from recjobs.rank.features import FeatureSpec, ItemTable, PairFeatures, pairs_of, user_block
from recjobs.rank.states import read_candidates, read_users
from recjobs.rank.train.outcomes import NEVER, Window, event_parts, first_outcomes, read_outcomes
from recjobs.rank.train.sampling import sample_pairs
from recjobs.settings import Settings
from recjobs.shards import shard_of

_FOLDS = 1000
_ARRAYS = ("user", "item", "first", "weight", "standard_score", "judged", "fold", "window")


@dataclass(frozen=True)
class Examples:
    """Pairs with features and outcomes, user by user, best retrieved first within a user.

    `user` int64[P] is a row of `users` and `item` int64[P] one of the item table; `first` int64[P, T] says when each
    task's outcome came first (NEVER if not); `weight` float32[P] how many pairs one stands for (0: not learnt from);
    `standard_score` float32[P]; `judged` bool[users]; `fold` int32[users] in [0, 1000), by hash of the user id;
    `window` int32[users] the label window a user's row is of, 1 being the last one. A user has a row in each window.
    """

    users: Block
    pairs: Block
    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    weight: FloatArray
    standard_score: FloatArray
    judged: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int32]
    window: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user)

    @property
    def earliest(self) -> npt.NDArray[np.int64]:
        """When each pair first had an outcome of any task, int64[P]; NEVER where none."""
        earliest: npt.NDArray[np.int64] = self.first.min(axis=1, initial=NEVER)
        return earliest

    @property
    def latest(self) -> npt.NDArray[np.bool_]:
        """Whether each pair is of the last label window, bool[P]."""
        latest: npt.NDArray[np.bool_] = (self.window == 1)[self.user]
        return latest


def build_examples(
    shard: int,
    shards: int,
    extract: Manifest,
    earlier: Manifest,
    search: Manifest,
    items: pl.Series,
    table: ItemTable,
    spec: FeatureSpec,
    window: Window,
    number: int,
    config: Settings,
) -> Examples:
    """The examples of shard `shard` of the earlier artefacts, which have `shards`; `items` are item ids by index.

    Only those of the last window, which has `number` 1, judge.
    """
    part = columns.part_name(shard)
    states = read_users(earlier.uri("users", part))
    pairs = pairs_of(read_candidates(search.uri("candidates", part), states))
    tasks = config.tasks()
    task_of = {name: tasks.index(kind.task) for name, kind in config.events.types.items()}
    outcomes = read_outcomes(event_parts(extract, shard, shards), window)
    first = first_outcomes(pairs, states.ids, items, outcomes, task_of, len(tasks))

    settings = config.rank.train
    sample = sample_pairs(
        pairs.user,
        np.any(first < NEVER, axis=1),
        len(states),
        negatives=settings.negatives_per_user,
        users_limit=-(-settings.users_limit // shards),
        judged_limit=-(-settings.judged_users // shards) if number == 1 else 0,
        random=np.random.default_rng([config.seed, shard, number]),
    )
    taken = pairs.take(sample.pairs)
    users, user = np.unique(taken.user, return_inverse=True)
    until = earlier.cutoffs.history_until
    return Examples(
        users=user_block(states, spec, until).take(users),
        pairs=PairFeatures(states, table, spec, until).block(taken),
        user=user.astype(np.int64),
        item=taken.item,
        first=first[sample.pairs],
        weight=sample.weight,
        standard_score=taken.standard_score,
        judged=sample.judged[users],
        fold=fold_of(states.ids.take(pa.array(users))),
        window=np.full(len(users), number, np.int32),
    )


def fold_of(users: pa.Array) -> npt.NDArray[np.int32]:
    """A number in [0, 1000) for each user id: the same every night, and independent of the shard."""
    return shard_of(pa.array([f"fold:{user}" for user in users.to_pylist()], pa.string()), _FOLDS)


def held_out_fold(examples: Examples, share: float) -> npt.NDArray[np.bool_]:
    """Whether each pair's user is among the `share` of users held out, bool[P]."""
    held: npt.NDArray[np.bool_] = (examples.fold < share * _FOLDS)[examples.user]
    return held


def join_examples(parts: list[Examples]) -> Examples:
    """The examples of all shards as one."""
    counts = [len(part.users) for part in parts]
    offsets = np.cumsum([0, *counts[:-1]])
    return Examples(
        users=stacked([part.users for part in parts]),
        pairs=stacked([part.pairs for part in parts]),
        user=np.concatenate([part.user + offset for part, offset in zip(parts, offsets, strict=True)]),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS if name != "user"},
    )


def join_windows(windows: list[Examples], items: list[Block]) -> tuple[Examples, Block]:
    """The examples of all windows as one, and below one another the items' blocks that they point into."""
    first_rows = np.cumsum([0, *(len(block) for block in items[:-1])])
    moved = [replace(part, item=part.item + first) for part, first in zip(windows, first_rows, strict=True)]
    return join_examples(moved), stacked(items)


def write_examples(examples: Examples, uri: str) -> None:
    """Stores `examples` at `uri`, for `read_examples`."""
    blocks = {"users": examples.users, "pairs": examples.pairs}
    buffer = io.BytesIO()
    arrays = {name: getattr(examples, name) for name in _ARRAYS}
    for name, block in blocks.items():
        arrays |= {f"{name}_dense": block.dense, f"{name}_sparse": block.sparse}
        arrays[f"{name}_layout"] = np.array(json.dumps(block.layout.to_record()))
    np.savez(buffer, **arrays)
    storage.write_bytes(uri, buffer.getvalue())


def read_examples(uri: str) -> Examples:
    """What `write_examples` stored."""
    with np.load(io.BytesIO(storage.read_bytes(uri))) as stored:
        return Examples(
            users=_stored_block(stored, "users"),
            pairs=_stored_block(stored, "pairs"),
            **{name: stored[name] for name in _ARRAYS},
        )


def _stored_block(stored: np.lib.npyio.NpzFile, name: str) -> Block:
    layout = Layout.from_record(json.loads(str(stored[f"{name}_layout"])))
    return Block(layout, stored[f"{name}_dense"], stored[f"{name}_sparse"])
