"""The references of the generated marketplace, on a small one: who knows more ranks better."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.quality.cases import Case
from benchmarks.quality.enriched import BUDGET, LOOK, RATING, enrich
from benchmarks.quality.marketplace import World, _lists, chance, known_scorer, popular_scorer, recall
from benchmarks.quality.observer import observed_chances
from benchmarks.quality.problem import Events, Problem, Truth
from recjobs import columns as c
from recjobs.evaluate.items import Items
from recjobs.settings import Settings, load_settings
from recjobs.sources.marketplace.generation import generate

DS = date(2026, 6, 29)
CASE = Case("small", "marketplace", DS, 1)


def settings() -> Settings:
    return load_settings("marketplace", {"marketplace.users": 400, "marketplace.items": 300, "marketplace.days": 20})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made, config = tmp_path_factory.mktemp("marketplace"), settings().marketplace
    assert config is not None
    generate(config, str(made), CASE.until)
    enrich(config, made)
    return made


def day_of(folder: Path, kind: str, day: date) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in (folder / kind / f"date={day}").glob("*.parquet")])


def world_of(folder: Path) -> World:
    """As `load_problem` makes it, straight from what was generated."""
    users, items = (day_of(folder, kind, DS) for kind in ("users", "items"))
    events = pl.concat([pl.read_parquet(path) for path in sorted((folder / "events").rglob("*.parquet"))])
    end = datetime(DS.year, DS.month, DS.day, tzinfo=UTC) + timedelta(days=1)
    ids = pl.Series([None, *items[c.ITEM]], dtype=pl.String)
    known = Items(ids, ids, np.r_[False, items[c.AVAILABLE].to_numpy()], np.zeros(len(ids)))
    rows = users.select(c.USER).with_row_index("row")
    placed = events.join(rows, on=c.USER).join(items.select(c.ITEM), on=c.ITEM).sort("row", c.TIMESTAMP)
    past = placed.filter(pl.col(c.TIMESTAMP) < end)
    later = placed.filter(pl.col(c.TIMESTAMP) >= end).select("row", c.ITEM).unique().sort("row")
    history = Events(
        past["row"].to_numpy().astype(np.int32), known.indexes(past[c.ITEM]), past[c.TIMESTAMP].dt.epoch("s").to_numpy()
    )
    truth = Truth(later["row"].to_numpy().astype(np.int64), known.indexes(later[c.ITEM]).astype(np.int64))
    problem = Problem("small", users[c.USER], known, history, history, int(end.timestamp()), truth)
    return World(CASE, settings(), problem, {}, users)


def test_added_columns_are_the_same_every_day_and_added_once(folder: Path) -> None:
    config = settings().marketplace
    assert config is not None
    enrich(config, folder)
    for kind, identity, names in (("items", c.ITEM, [LOOK, RATING]), ("users", c.USER, [BUDGET])):
        first, last = (day_of(folder, kind, day) for day in (DS - timedelta(days=18), DS))
        assert len(first.columns) == len(set(first.columns)) == len(last.columns)
        both = first.join(last, on=identity)
        assert both.height > 200
        for name in names:
            assert both[name].to_list() == both[f"{name}_right"].to_list()
    told = day_of(folder, "users", DS)[BUDGET]
    assert told.null_count() / len(told) == pytest.approx(0.4, abs=0.1)
    assert set(told.drop_nulls().unique()) == {f"level {number}" for number in range(5)}


def test_the_oracle_is_above_the_day_before_above_the_observer_above_popularity(folder: Path) -> None:
    world = world_of(folder)
    observed = observed_chances(world.config, world.problem, world.states, DS)
    assert observed.shape == world.problem.shape
    assert observed.min() >= 0
    assert observed.sum(axis=1).max() == pytest.approx(1, abs=1e-3)
    scorers = [
        known_scorer(world.truth),
        known_scorer(world.chances(DS)),
        known_scorer(observed),
        popular_scorer(world),
    ]
    lists = [_lists(world, scorer) for scorer in scorers]
    for measure in (chance, recall):
        values = [measure(world, one)[0] for one in lists]
        assert values == sorted(values, reverse=True)
        assert values[2] > 1.5 * values[3]
    assert chance(world, lists[0])[1] > 300, "everybody who is there counts, not who came alone"


def test_a_chance_is_the_share_of_the_views_that_the_list_catches(folder: Path) -> None:
    world = world_of(folder)
    lists = _lists(world, known_scorer(world.truth))
    everything = np.tile(np.arange(1, world.problem.shape[1], dtype=np.int32), (len(lists), 1))
    assert chance(world, everything, k=world.problem.shape[1])[0] == pytest.approx(1)
    one = np.arange(len(lists)) == np.flatnonzero(world.truth.sum(axis=1))[0]
    best = np.sort(world.truth[one][0])[::-1][:20].sum() / world.truth[one].sum()
    assert chance(world, lists, users=one) == (pytest.approx(best, rel=1e-4), 1)
    nobody = np.zeros(len(lists), np.bool_)
    assert chance(world, lists, users=nobody) == (0.0, 0)
