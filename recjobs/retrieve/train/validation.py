"""How well the towers foresee the latest days, which training does not see: full ranking over all items with an event.

A user's vector is made as a nightly list's is: from the history until the end of the day before the held-out ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recjobs.errors import ModelError
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import ValidationConfig
from recjobs.retrieve.train.export import representations, visit
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.sequences import Batch, Sequences
from recjobs.retrieve.train.targets import SECONDS_A_DAY
from recjobs.retrieve.user_features import DEVICE, EVENT_FIELDS, EVENT_TYPE, HOUR, ITEM, NOW, TIME

_USERS_A_CALL = 256
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Foreseen:
    """Users and what they did next: the user tower's inputs by row, and pairs of (row, item), each once."""

    inputs: Batch
    row: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self.inputs[NOW])


def foreseen(
    blocks: Iterable[Sequences],
    config: ValidationConfig,
    *,
    last_day: int,
    length: int,
    event_weight: npt.NDArray[np.float32],
    seed: int,
) -> Foreseen:
    """At most `config.users` users with a history and a wanted event in the `config.days` days until `last_day`.

    Which of them is a function of seed and user index alone.

    Raises:
        ModelError: there is no such user.
    """
    first_day = last_day - config.days + 1
    parts = [_part(block, first_day, length, event_weight, config.users, seed) for block in blocks]
    whole = _joined([part for part in parts if part.users], length)
    if whole is None:
        raise ModelError(
            f"no user has a history and an event of positive weight in the last {config.days} days, so there is "
            "nothing to validate on. Raise retrieve.train.validation.days, or leave retrieve.train.validation out."
        )
    kept = np.sort(np.argsort(_priority(whole.inputs["user_index"], seed), kind="stable")[: config.users])
    return _only(whole, kept)


def _part(
    sequences: Sequences, first_day: int, length: int, weight: npt.NDArray[np.float32], most: int, seed: int
) -> Foreseen:
    events, starts = sequences.events, sequences.starts
    owner = np.repeat(np.arange(len(starts)), sequences.lengths)
    late = events[TIME] >= first_day * SECONDS_A_DAY
    before = np.bincount(owner[~late], minlength=len(starts))
    wanted = late & (weight[events[EVENT_TYPE]] > 0) & (events[ITEM] > 0) & (before[owner] > 0)
    users = np.unique(owner[wanted])
    users = np.sort(users[np.argsort(_priority(sequences.user_index[users], seed), kind="stable")[:most]])
    row = np.searchsorted(users, owner[wanted])
    mine = (row < len(users)) & (users[np.minimum(row, len(users) - 1)] == owner[wanted]) if len(users) else row < 0
    pairs = np.unique(np.stack([row[mine], events[ITEM][wanted][mine].astype(np.int64)], axis=1), axis=0)
    shown = np.minimum(before[users], length)
    inputs = sequences.slices(starts[users] + before[users] - shown, shown) | sequences.side(users)
    inputs[NOW] = np.full(len(users), first_day * SECONDS_A_DAY, np.int64)
    if DEVICE in inputs:
        blocks = np.array_split(inputs[DEVICE], max(1, -(-len(users) // _USERS_A_CALL)))
        inputs[DEVICE] = np.concatenate([usual_device(block) for block in blocks])
    return Foreseen(inputs, pairs[:, 0], pairs[:, 1])


def usual_device(history: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64[B]: the most frequent code of each row of int64[B, H], of equally frequent ones the last; 0 is none.

    As `extract` has it, though of no more events than the tower sees.
    """
    padded = np.pad(history, ((0, 0), (1, 0)))
    count = (padded[:, :, None] == padded[:, None, :]).sum(axis=2) * (padded > 0)
    last = count.shape[1] - 1 - np.argmax(count[:, ::-1], axis=1)
    found: npt.NDArray[np.int64] = padded[np.arange(len(last)), last]
    return found


def _priority(user_index: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """A number that looks random for each user, the same in every block and epoch."""
    mixed = (user_index.astype(np.uint64) + np.uint64(seed % (1 << 32))) * _MIX
    mixed ^= mixed >> np.uint64(29)
    return (mixed * _MIX) ^ (mixed >> np.uint64(32))


def _joined(parts: list[Foreseen], length: int) -> Foreseen | None:
    if not parts:
        return None
    offsets = np.cumsum([0, *(part.users for part in parts)])
    inputs = {
        name: np.concatenate([_widened(name, part.inputs[name], length) for part in parts]) for name in parts[0].inputs
    }
    rows = [part.row + offset for part, offset in zip(parts, offsets, strict=False)]
    return Foreseen(inputs, np.concatenate(rows), np.concatenate([part.item for part in parts]))


def _widened(name: str, values: npt.NDArray[Any], length: int) -> npt.NDArray[Any]:
    return np.pad(values, ((0, 0), (0, length - values.shape[1]))) if name in EVENT_FIELDS else values


def _only(whole: Foreseen, kept: npt.NDArray[np.int64]) -> Foreseen:
    place = np.full(whole.users, -1)
    place[kept] = np.arange(len(kept))
    mine = place[whole.row] >= 0
    inputs = {name: values[kept] for name, values in whole.inputs.items()}
    return Foreseen(inputs, place[whole.row[mine]], whole.item[mine])


class Judge:
    """Measures a model on what is foreseen."""

    def __init__(self, model: TwoTower, what: Foreseen, k: int) -> None:
        self.model = model
        self.what = what
        self.k = k
        self._vectors = tf.function(self._user_vectors, reduce_retracing=True)

    def __call__(self) -> dict[str, float]:
        """`recall` and `ndcg` at K, means over users. Among equal scores the item of lower index comes first."""
        return measures(self.ranks(), self.what.row, self.what.users, self.k)

    def ranks(self) -> npt.NDArray[np.int64]:
        """The place of each pair's item in its user's ranking, from 0: int64[pairs]."""
        candidates, history = representations(self.model, self.model.items.warm)
        items = self.model.items.vector(candidates[1:])
        ranks = np.zeros(len(self.what.row), np.int64)
        for start in range(0, self.what.users, _USERS_A_CALL):
            users = np.arange(start, min(start + _USERS_A_CALL, self.what.users))
            pairs = np.flatnonzero((self.what.row >= users[0]) & (self.what.row <= users[-1]))
            inputs = {name: tf.constant(values[users]) for name, values in self.what.inputs.items()}
            scores = tf.matmul(self._vectors(history, inputs), items, transpose_b=True)
            ranks[pairs] = _ranks(scores.numpy(), self.what.row[pairs] - start, self.what.item[pairs])
        return ranks

    def _user_vectors(self, history: Any, inputs: dict[str, Any]) -> Any:
        length = tf.reduce_sum(tf.cast(inputs[ITEM] > 0, tf.int32), axis=1)
        positions = tf.shape(inputs[ITEM])[1] + 1
        query_day = tf.tile((inputs[NOW] // SECONDS_A_DAY)[:, None], [1, positions])
        side = {name: values for name, values in inputs.items() if name not in (*EVENT_FIELDS, NOW)}
        side |= visit(inputs, positions) | {HOUR: tf.zeros_like(query_day)}
        vectors = self.model.users(
            tf.gather(history, inputs[ITEM]),
            inputs[EVENT_TYPE],
            inputs[TIME] // SECONDS_A_DAY,
            query_day,
            side,
            training=False,
        )
        return tf.gather(vectors, length, batch_dims=1)


def _ranks(
    scores: npt.NDArray[np.float32], row: npt.NDArray[np.int64], item: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """How many items come before each pair's; column c of `scores` is item c + 1."""
    mine = scores[row]
    own = mine[np.arange(len(row)), item - 1][:, None]
    before = np.arange(scores.shape[1])[None] < (item - 1)[:, None]
    ranks: npt.NDArray[np.int64] = ((mine > own) | ((mine == own) & before)).sum(axis=1)
    return ranks


def measures(ranks: npt.NDArray[np.int64], row: npt.NDArray[np.int64], users: int, k: int) -> dict[str, float]:
    """Mean recall and NDCG at K over users; each has at least one pair."""
    hit = ranks < k
    wanted = np.bincount(row, minlength=users)
    gain = np.bincount(row, np.where(hit, 1.0 / np.log2(ranks + 2.0), 0.0), minlength=users)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))[np.minimum(wanted, k) - 1]
    recall = np.bincount(row, hit, minlength=users) / wanted
    return {"recall": float(recall.mean()), "ndcg": float((gain / ideal).mean())}
