"""All steps together, over hostile worlds and any rules: what must hold of every finished list."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.config import ClusterConfig, DitherConfig, ExploreConfig, MmrConfig, SurfaceConfig
from recjobs.compose.order import Plan, steps_of
from recjobs.compose.reasons import EventWords, Neighbours
from recjobs.compose.rulebook import NEVER, Limit, Pinned, Rulebook
from recjobs.compose.shelf import Shelf
from recjobs.compose.steps import LISTS, ORIGIN, Origin, run_steps
from recjobs.ragged import places_in_runs
from tests.compose.worlds import NOW, PURCHASE, World, candidates_of, config_of, scene_of, worlds

WORDS = EventWords({}, frozenset(), frozenset())


def shelf_of(world: World, surface: SurfaceConfig, book: Rulebook, random: np.random.Generator) -> Shelf:
    """A surface of `world` with these rules; clusters and vectors are drawn."""
    scene = scene_of(world)
    size = world.items + 1
    vectors = random.normal(size=(size, 3)).astype(np.float32)
    clusters = np.r_[0, random.integers(1, 4, world.items)].astype(np.int32)
    plan = Plan("home", surface, book, 17, date(2026, 3, 31), vectors, clusters)
    config = config_of(world).model_copy(update={"reasons": "none"})
    near = Neighbours(np.empty(0, np.int32), np.zeros(size + 1, np.int64))
    catalogue = scene.catalogue.only(book.allowed)
    return Shelf(surface, catalogue, scene.popularity, book, NOW, steps_of(config, near, WORDS, plan=plan))


def book_of(random: np.random.Generator, world: World, length: int) -> Rulebook:
    """Any rules: caps, boosts, repeats, up to two pins, a pool; what may be shown is the world's."""
    size, groups = world.items + 1, random.integers(0, 3, world.items + 1).astype(np.int32)
    places = random.permutation(length)[:2]
    pinned = random.permutation(world.items)[:2] + 1
    bars = np.zeros((4, size), np.float32)
    bars[PURCHASE] = random.choice([0, 2, NEVER], size)
    pool = random.permutation(sorted(world.eligible))[:3].astype(np.int32)
    return Rulebook(
        allowed=np.r_[False, np.ones(world.items, np.bool_)],
        boost=random.normal(size=size).astype(np.float32),
        limits=(Limit(groups, int(random.integers(1, 3)), length, length),),
        bars=bars,
        ruled=np.zeros(size, np.bool_),
        pinned=tuple(Pinned(int(item), int(place)) for item, place in zip(pinned, places, strict=False)),
        pool=pool,
    )


@settings(max_examples=25, deadline=None)
@given(worlds(), st.integers(0, 2**32 - 1))
def test_every_list_is_full_distinct_eligible_and_falls_whatever_the_rules(world: World, seed: int) -> None:
    random = np.random.default_rng(seed)
    book = book_of(random, world, world.length)
    free = [place + 1 for place in range(world.length) if place not in {pin.place for pin in book.pinned}]
    surface = SurfaceConfig(
        length=world.length,
        mmr=MmrConfig(relevance=0.5, places=4, depth=6),
        clusters=ClusterConfig(at_most=1, window=2),
        explore=ExploreConfig(share=0.6, places=free[:1]),
        dither=DitherConfig(strength=0.5),
    )
    shelf = shelf_of(world, surface, book, random)
    scene = shelf.scene(scene_of(world).audience)
    lists, counts = run_steps(shelf.steps, candidates_of(world), scene)
    assert lists.schema == LISTS
    assert lists[ROW].is_sorted()
    assert not lists.select(ROW, ITEM_INDEX).is_duplicated().any()
    assert set(lists[ITEM_INDEX]) <= world.eligible
    assert scene.lengths(lists).tolist() == [world.full] * len(world.people)
    assert lists[SCORE].is_finite().all()
    assert not (lists[SCORE].diff().gt(0) & lists[ROW].diff().eq(0)).fill_null(False).any()
    rows = candidates_of(world).height
    for name, one in counts.items():
        assert one.rows_in == rows, name
        rows += one.added - one.removed
        assert min(one.added, one.removed, one.moved, one.gave_way) >= 0
    assert rows == lists.height
    _repeats_only_where_nothing_is_left(world, lists, book)
    _pins_stand_where_they_are_pinned(lists, shelf, scene.barred)


def _repeats_only_where_nothing_is_left(world: World, lists: pl.DataFrame, book: Rulebook) -> None:
    for row, person in enumerate(world.people):
        last = {
            item: len(person.events) - place for place, (item, kind) in enumerate(person.events) if kind == PURCHASE
        }
        barred = {item for item, days in last.items() if days < book.bars[PURCHASE, item]} & world.eligible
        shown = set(lists.filter(pl.col(ROW) == row)[ITEM_INDEX])
        assert len(shown & barred) == max(0, world.full - len(world.eligible - barred))


def _pins_stand_where_they_are_pinned(lists: pl.DataFrame, shelf: Shelf, barred: pl.Series) -> None:
    placed = lists.with_columns(pl.Series("place", places_in_runs(lists[ROW].to_numpy())))
    pinned = placed.filter(pl.col(ORIGIN) == int(Origin.PINNED))
    wanted = {(pin.item, pin.place) for pin in shelf.book.pinned}
    keys = shelf.catalogue.keys(pinned[ROW].to_numpy(), pinned[ITEM_INDEX].to_numpy())
    assert not set(keys.tolist()) & set(barred.to_list())
    lengths = dict(lists.filter(pl.col(ORIGIN) != int(Origin.REPEAT)).group_by(ROW).len().rows())
    for row, item, place in pinned.select(ROW, ITEM_INDEX, "place").rows():
        # A place beyond the end of a short list is its end, which moves the pins before it up; repeats fill it later.
        if all(at < lengths[row] for _, at in wanted):
            assert (item, place) in wanted


def test_steps_stand_in_the_order_of_the_design_and_only_where_asked() -> None:
    world = World(4, {1, 2, 3, 4}, [], length=3)
    random = np.random.default_rng(0)
    book = book_of(random, world, 3)
    everything = SurfaceConfig(
        length=3,
        mmr=MmrConfig(relevance=0.5),
        clusters=ClusterConfig(at_most=1),
        explore=ExploreConfig(share=0.5, places=[3]),
        dither=DitherConfig(strength=0.5),
    )
    names = [step.name for step in shelf_of(world, everything, book, random).steps]
    wanted = "eligibility no_repeat score boosts cold_start reserve mmr caps_and_clusters cut pins explore dither fill"
    assert names == wanted.split()
    kept_out = replace(book, allowed=np.array([False, True, True, False, True]))
    assert shelf_of(world, everything, kept_out, random).steps[0].name == "filters"
    nothing = replace(book, boost=np.zeros(5, np.float32), limits=(), pinned=())
    plain = [step.name for step in shelf_of(world, SurfaceConfig(length=3), nothing, random).steps]
    assert plain == ["eligibility", "no_repeat", "score", "cold_start", "fill"]
