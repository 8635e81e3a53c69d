"""Towers that are retrained in full have other coordinates; the ranker of the night before still orders well.

Real towers, real search, real ranker, on planted users who come back to what they had the day before: that is in the
pair features, while briefly trained towers know a user's group only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from recjobs import columns as c
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.settings import Settings
from tests.planted import Planted, planted_extract
from tests.retrieve.nights import SMALL, search, settings_of, train

TONIGHT = Planted(users=240, items=48, groups=4, days=7, shards=2)
EARLIER = replace(TONIGHT, ds=TONIGHT.ds - timedelta(days=1))
A_DAY, KEPT, K = 3, 0.75, 10
BRIEF = SMALL | {
    "retrieve__train__epochs": 3,
    "retrieve__search__candidates": 24,
    "rank__train__epochs": 6,
    "rank__train__judged_users": 200,
}
FIRST_SEED, OTHER_SEED = 1, 2

pytestmark = pytest.mark.slow


def habits() -> pl.DataFrame:
    """Each user views A_DAY items of the own group a day; each of them again the next day with the chance KEPT.

    One day more than tonight knows: what came true.
    """
    random = np.random.default_rng(7)
    users = np.arange(TONIGHT.users)[:, np.newaxis]
    per_group = TONIGHT.items // TONIGHT.groups
    items, frames = np.zeros((TONIGHT.users, A_DAY), np.int64), []
    for day in range(TONIGHT.days + 1):
        fresh = users % TONIGHT.groups + TONIGHT.groups * random.integers(0, per_group, items.shape)
        again = random.random(items.shape) < KEPT if day else np.zeros(items.shape, np.bool_)
        items = np.where(again, items, fresh)
        start = datetime.combine(TONIGHT.ds - timedelta(days=TONIGHT.days - 1 - day), datetime.min.time(), UTC)
        seconds = int(start.timestamp()) + random.integers(0, 86_400, items.size)
        frames.append(
            pl.DataFrame(
                {
                    c.USER: [f"u{number:04d}" for number in np.repeat(users.ravel(), A_DAY)],
                    c.ITEM: [f"i{number:04d}" for number in items.ravel()],
                    c.EVENT_TYPE: np.where(random.random(items.size) < 0.2, "purchase", "view"),
                    c.TIMESTAMP: pl.Series(seconds * 1_000_000).cast(pl.Datetime("us", "UTC")),
                }
            )
        )
    return pl.concat(frames).sort(c.TIMESTAMP, c.USER)


@dataclass(frozen=True)
class Retrained:
    """The ranker, learnt with towers of one seed, and tonight's candidates of towers of both seeds, scored by it."""

    settings: Settings
    ranker: Manifest
    searches: dict[int, Manifest]
    scored: dict[int, Manifest]
    truth: dict[str, set[int]]


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Retrained:
    from recjobs.rank.score import stage as score_stage
    from recjobs.rank.train import stage as train_stage

    folder, events = tmp_path_factory.mktemp("retrained"), habits()
    settings = settings_of(folder, **BRIEF)
    earlier = planted_extract(folder / "earlier", EARLIER, events=events)
    tonight = planted_extract(folder / "tonight", TONIGHT, events=events)
    before = candidates_of(earlier, settings, FIRST_SEED, folder / "before")
    manifests = {"extract": tonight, "earlier/extract": earlier, "earlier/retrieve/search": before}
    out = Output("rank/train", tonight.ds, "run", tonight.cutoffs, str(folder / "rank"))
    ranker = train_stage.run(Inputs(tonight.ds, tonight.cutoffs, manifests), settings, out)
    searches, scored = {}, {}
    for seed in (FIRST_SEED, OTHER_SEED):
        searches[seed] = candidates_of(tonight, settings, seed, folder / f"seed{seed}")
        given = {"extract": tonight, "retrieve/search": searches[seed], "rank/train": ranker}
        out = Output("rank/score", tonight.ds, f"seed{seed}", tonight.cutoffs, str(folder / f"scored{seed}"))
        scored[seed] = score_stage.run(Inputs(tonight.ds, tonight.cutoffs, given), settings, out)
    return Retrained(settings, ranker, searches, scored, truth_of(tonight, events))


def candidates_of(extract: Manifest, settings: Settings, seed: int, folder: Path) -> Manifest:
    """Towers trained in full with this seed, and their candidates."""
    seeded = settings.model_copy(update={"seed": seed})
    return search(extract, train(extract, seeded, folder / "towers"), seeded, folder / "search")


def truth_of(extract: Manifest, events: pl.DataFrame) -> dict[str, set[int]]:
    """The item indexes that each user comes to on the day after."""
    index = dict(pl.read_parquet(extract.uri("items.parquet")).select(c.ITEM, c.ITEM_INDEX).iter_rows())
    after = events.filter(pl.col(c.TIMESTAMP).dt.date() > extract.ds).group_by(c.USER).agg(c.ITEM)
    return {user: {index[item] for item in items} for user, items in after.iter_rows()}


def lists(manifest: Manifest, folder: str) -> dict[str, list[int]]:
    table = pl.concat([pl.read_parquet(part.uri) for part in manifest.parts(folder)])
    return dict(table.select(c.USER, c.ITEM_INDEX).iter_rows())


def ndcg(found: dict[str, list[int]], truth: dict[str, set[int]]) -> float:
    """Mean NDCG@K."""
    discount = 1.0 / np.log2(np.arange(K) + 2.0)
    return float(
        np.mean(
            [
                sum(discount[place] for place, item in enumerate(items[:K]) if item in truth[user])
                / discount[: len(truth[user])].sum()
                for user, items in found.items()
            ]
        )
    )


def vectors(manifest: Manifest) -> np.ndarray:
    rows = pq.read_table(manifest.uri("item_vectors.parquet"))[c.VECTOR].to_pylist()
    wide = np.array(rows)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def test_the_coordinates_did_turn(retrained: Retrained) -> None:
    """An item's vectors of the two trainings lie some fifty degrees apart, though both start from the same counts."""
    one, other = (vectors(manifest) for manifest in retrained.searches.values())
    assert abs(np.sum(one * other, axis=1)).mean() < 0.75


def test_the_ranker_beats_retrieval_order_as_clearly_with_retrained_towers(retrained: Retrained) -> None:
    gains = {}
    for seed, scored in retrained.scored.items():
        ranked = ndcg(lists(scored, "scored"), retrained.truth)
        retrieved = ndcg(lists(retrained.searches[seed], "candidates"), retrained.truth)
        gains[seed] = ranked - retrieved
        print(f"seed {seed}: retrieval {retrieved:.3f}, ranker {ranked:.3f}")
    assert retrained.ranker.metrics["blend_weight"] > 0
    assert gains[OTHER_SEED] > 0.1
    assert gains[OTHER_SEED] > 0.8 * gains[FIRST_SEED]


def test_it_orders_a_users_candidates_alike(retrained: Retrained) -> None:
    """The first places are the same items, whichever towers proposed and scored them."""
    one, other = (lists(scored, "scored") for scored in retrained.scored.values())
    shared = np.mean([len({*one[user][:A_DAY]} & {*other[user][:A_DAY]}) / A_DAY for user in one])
    before = [lists(manifest, "candidates") for manifest in retrained.searches.values()]
    retrieved = np.mean([len({*before[0][user][:A_DAY]} & {*before[1][user][:A_DAY]}) / A_DAY for user in one])
    print(f"the first {A_DAY} shared: ranker {shared:.2f}, retrieval {retrieved:.2f}")
    assert shared > 0.75
