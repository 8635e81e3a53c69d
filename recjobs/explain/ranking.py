"""What the ranker said of a pair, and which groups of its features mattered.

A group's effect is what changes when the pair's features of that group are put to what is usual and all else is left:
the features of the pair to their mean over the user's own candidates, those of the user to their mean over the users of
the shard, those of the item to their mean over the catalogue, and ids, categories and buckets to the unknown value. An
effect above 0 lifts the pair. Effects need not add up: groups work together, and what two tell alike neither loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recjobs import columns
from recjobs.explain.finding import EXTRACT, RANKER, SCORE, SEARCH, Night, part_of, rows_of_user
from recjobs.explain.groups import group_of
from recjobs.rank.blend import utility_of
from recjobs.rank.block import Block, stacked
from recjobs.rank.features import PairFeatures, item_table, pairs_of, user_block
from recjobs.rank.states import read_candidates, read_items, read_users

BLOCKS = ("user", "item", "pair")


@dataclass(frozen=True)
class Head:
    """One task: the calibrated probability and its weight in the utility."""

    task: str
    probability: float
    weight: float


@dataclass(frozen=True)
class Effect:
    """What one group of features does for the pair."""

    group: str
    utility: float
    """The utility lost without what the group says of this pair."""
    log_odds: float
    """The same of the first task's log odds."""


@dataclass(frozen=True)
class Ranking:
    """What the ranker said of a candidate."""

    rank: int
    candidates: int
    score: float
    lowest: float
    utility: float
    blend_weight: float
    """How much of the score is the ranker's; the rest is retrieval's order."""
    heads: tuple[Head, ...]
    effects: tuple[Effect, ...]
    """Largest first, whatever the sign; empty where they were not asked for."""


def ranking_of(night: Night, user: str, item: int, *, effects: bool = True) -> Ranking | None:
    """What the ranker said of `user` and item_index `item`; None where the item was no candidate."""
    row = rows_of_user(night.manifests[SCORE].uri("scored", part_of(night, user)), user).to_pylist()[0]
    if item not in row[columns.ITEM_INDEX]:
        return None
    at = row[columns.ITEM_INDEX].index(item)
    about = _about(night)
    probabilities = [row[columns.probability_column(task)][at] for task in about.tasks]
    return Ranking(
        rank=at + 1,
        candidates=len(row[columns.ITEM_INDEX]),
        score=row[columns.SCORE][at],
        lowest=row[columns.SCORE][-1],
        utility=float(utility_of(np.array([probabilities], np.float32), about.utility)[0]),
        blend_weight=about.blend_weight,
        heads=tuple(Head(*told) for told in zip(about.tasks, probabilities, about.utility, strict=True)),
        effects=effects_of(night, user, item) if effects else (),
    )


def _about(night: Night) -> Any:
    from recjobs import storage
    from recjobs.rank.ranker import ABOUT_FILE, About

    return About.from_json(storage.read_bytes(night.manifests[RANKER].uri(ABOUT_FILE)))


def effects_of(night: Night, user: str, item: int) -> tuple[Effect, ...]:
    """The effect of each group of features on a candidate, the largest first."""
    from recjobs.rank.ranker import load_ranker

    ranker = load_ranker(night.manifests[RANKER].folder)
    blocks, usual = _blocks(night, ranker.about.spec, user, item)
    groups = _groups(blocks)
    changed = [_without(blocks, usual, group) for group in groups]
    rows = {name: stacked([blocks[name], *(one[name] for one in changed)]) for name in BLOCKS}
    at = np.arange(len(groups) + 1)
    encoded = {name: ranker.encode(name, rows[name]) for name in ("user", "item")}
    found = ranker.probabilities(encoded["user"], encoded["item"], at, at, rows["pair"], len(at))
    return _ordered(groups, found, ranker.about.utility)


def _ordered(
    groups: Sequence[str], probabilities: npt.NDArray[np.float32], weights: tuple[float, ...]
) -> tuple[Effect, ...]:
    utility = utility_of(probabilities, weights)
    clipped = np.clip(probabilities[:, 0].astype(np.float64), 1e-9, 1 - 1e-9)
    odds = np.log(clipped / (1 - clipped))
    effects = [
        Effect(group, float(utility[0] - utility[row]), float(odds[0] - odds[row]))
        for row, group in enumerate(groups, start=1)
    ]
    return tuple(sorted(effects, key=lambda effect: -abs(effect.utility)))


def _blocks(night: Night, spec: Any, user: str, item: int) -> tuple[dict[str, Block], dict[str, Block]]:
    """The pair's three blocks, a row each, and what is usual in their stead."""
    extract, part = night.manifests[EXTRACT], part_of(night, user)
    until = extract.cutoffs.history_until
    users = read_users(extract.uri("users", part))
    items = item_table(read_items(extract), spec, until)
    pairs = pairs_of(read_candidates(night.manifests[SEARCH].uri("candidates", part), users))
    at = users.ids.index(pa.scalar(user)).as_py()
    own = pairs.take(pairs.user == at)
    described = PairFeatures(users, items, spec, until).block(own)
    place = int(np.flatnonzero(own.item == item)[0])
    whole = {"user": user_block(users, spec, until), "item": items.block, "pair": described}
    rows = {"user": at, "item": item, "pair": place}
    mine = {name: block.take(np.array([rows[name]])) for name, block in whole.items()}
    return mine, {name: _usual(block, skip=int(name == "item")) for name, block in whole.items()}


def _usual(block: Block, *, skip: int) -> Block:
    """One row: the mean of the dense features of the rows from `skip`, unknown for the sparse ones."""
    mean = block.dense[skip:].mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    return Block(block.layout, mean, np.zeros((1, block.sparse.shape[1]), np.int32))


def _groups(blocks: dict[str, Block]) -> list[str]:
    names = [
        group_of(name, feature)
        for name in BLOCKS
        for feature in (*blocks[name].layout.dense, *(feature for feature, _ in blocks[name].layout.sparse))
    ]
    return list(dict.fromkeys(names))


def _without(blocks: dict[str, Block], usual: dict[str, Block], group: str) -> dict[str, Block]:
    return {name: _put(name, blocks[name], usual[name], group) for name in BLOCKS}


def _put(name: str, own: Block, usual: Block, group: str) -> Block:
    dense = np.array([group_of(name, feature) == group for feature in own.layout.dense], np.bool_)
    sparse = np.array([group_of(name, feature) == group for feature, _ in own.layout.sparse], np.bool_)
    return replace(
        own,
        dense=np.where(dense, usual.dense, own.dense),
        sparse=np.where(sparse, usual.sparse, own.sparse),
    )
