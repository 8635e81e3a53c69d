"""Reasons are recomputed from the data they speak of, by a plain Python program."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import columns
from recjobs.columns import ITEM_INDEX, REASON
from recjobs.compose.audience import ROW
from recjobs.compose.order import steps_of
from recjobs.compose.reasons import Neighbours, event_words, neighbours_of, segment_reasons
from recjobs.compose.steps import ORIGIN, Origin, run_steps
from recjobs.sources.config import EventType
from tests.compose.worlds import (
    DISLIKE,
    PURCHASE,
    VIEW,
    Person,
    World,
    candidates_of,
    config_of,
    scene_of,
    worlds,
)

TYPES = {
    "view": EventType(task="click"),
    "purchase": EventType(task="purchase", weight=4),
    "dislike": EventType(task="dislike", weight=-1),
}
WORDS = event_words(TYPES, {"view": VIEW, "purchase": PURCHASE, "dislike": DISLIKE})
SAID = {VIEW: "because you viewed T{}", PURCHASE: "because you bought T{}"}
HISTORY, NEAR = 2, 2
NAMED = {
    "all": "popular now",
    "country=GB": "popular with people in GB",
    "age_band=18-24": "popular with people aged 18-24",
    "country=GB&age_band=18-24": "popular with people in GB aged 18-24",
}


def near_of(similar: dict[int, list[int]], size: int) -> Neighbours:
    rows = sorted(similar.items())
    table = pa.table(
        {
            columns.ITEM_INDEX: pa.array([item for item, _ in rows], pa.int32()),
            columns.SIMILAR_INDEX: pa.array([near for _, near in rows], pa.list_(pa.int32())),
        }
    )
    return neighbours_of(table, size, NEAR, mutual=True)


def lists_with_reasons(world: World, similar: dict[int, list[int]]) -> pl.DataFrame:
    config = config_of(world).model_copy(update={"reason_history": HISTORY})
    steps = steps_of(config, near_of(similar, world.items), WORDS)
    return run_steps(steps, candidates_of(world), scene_of(world))[0]


def near_place(similar: dict[int, list[int]], other: int, item: int) -> int:
    """How near `item` is to `other`, among those to whom `other` is near."""
    mutual = [one for one in similar[other][:NEAR] if other in similar.get(one, [])[: 2 * NEAR]]
    return mutual.index(item)


def naive_reason(world: World, person: Person, item: int, origin: int, similar: dict[int, list[int]]) -> str:
    if (item, PURCHASE) in person.events:
        return "buy again"
    if (item, VIEW) in person.events:
        return "you looked at this before"
    disliked = {other for other, kind in person.events if kind == DISLIKE}
    latest: dict[int, int] = {}
    for other, kind in reversed(person.events):
        if kind != DISLIKE and other not in disliked:
            latest.setdefault(other, kind)
    alike = [
        (near_place(similar, other, item), recency, SAID[kind].format(other))
        for recency, (other, kind) in enumerate(list(latest.items())[:HISTORY])
        if item in similar.get(other, [])[:NEAR] and other in similar.get(item, [])[: 2 * NEAR]
    ]
    if alike:
        return min(alike)[2]
    for name in [*person.segments, "all"]:
        shown = [other for other, _ in world.popular.get(name, []) if other in world.eligible]
        if item in shown[: world.full]:
            return NAMED[name]
    if item in world.new:
        place = world.categories.get(item)
        return f"new in {place.rpartition('/')[2]}" if place else "new"
    return "picked for you" if origin == int(Origin.MODEL) else "available now"


@settings(max_examples=80, deadline=None)
@given(worlds(), st.data())
def test_every_reason_is_true(world: World, data: st.DataObject) -> None:
    some = st.lists(st.integers(1, world.items), unique=True)
    similar = {
        item: data.draw(some.map(lambda near, me=item: [one for one in near if one != me]))
        for item in range(1, world.items + 1)
    }  # type: ignore[misc]
    lists = lists_with_reasons(world, similar)
    for row, item, origin, reason in lists.select(ROW, ITEM_INDEX, ORIGIN, REASON).iter_rows():
        assert reason == naive_reason(world, world.people[row], item, origin, similar)


def test_each_kind_of_reason_in_its_own_words() -> None:
    person = Person("GB", [(1, VIEW), (2, PURCHASE), (9, VIEW)], [(2, 0.9), (3, 0.8), (4, 0.7), (8, 0.1)])
    popular = {"country=GB": [(5, 2.0)], "all": [(6, 3.0)]}
    world = World(10, set(range(1, 11)) - {9}, [person], popular, new={7}, length=9, categories={7: "home / kitchen "})
    scene = scene_of(world)
    steps = steps_of(config_of(world), near_of({1: [3], 3: [1], 2: [4], 4: [2]}, 10), WORDS)
    lists, _ = run_steps(steps[:1] + steps[2:], candidates_of(world), scene)
    assert dict(lists.select(ITEM_INDEX, REASON).iter_rows()) == {
        2: "buy again",
        3: "because you viewed T1",
        4: "because you bought T2",
        5: "popular with people in GB",
        6: "popular now",
        7: "new in kitchen",
        8: "picked for you",
        1: "you looked at this before",
        10: "available now",
    }


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("cart", "because you added {} to your cart"),
        ("interaction", "because of {}"),
        ("order", "because you bought {}"),
    ],
)
def test_phrases_of_event_types(name: str, phrase: str) -> None:
    task = "purchase" if name == "order" else name
    words = event_words({name: EventType(task=task)}, {name: 1})
    assert words.phrases == {1: phrase}
    assert words.purchases == (frozenset({1}) if name == "order" else frozenset())


def test_a_title_with_braces_or_dollars_is_said_as_it_is() -> None:
    person = Person(None, [(1, VIEW)] * 3, [(2, 0.5)])
    world = World(2, {1, 2}, [person], length=1)
    scene = scene_of(world)
    titles = pl.Series([None, "{} for $1 & <b>", "other"], dtype=pl.String)
    object.__setattr__(scene.catalogue, "title", titles)
    lists, _ = run_steps(steps_of(config_of(world), near_of({1: [2], 2: [1]}, 2), WORDS), candidates_of(world), scene)
    assert lists[REASON].to_list() == ["because you viewed {} for $1 & <b>"]


def test_what_is_near_to_everything_is_no_reason() -> None:
    person = Person("GB", [(1, VIEW)] * 4, [(9, 0.9), (2, 0.8)])
    similar = {1: [2, 9], 2: [1, 9], 9: [3, 4, 5, 6, 1]}
    lists = lists_with_reasons(World(9, set(range(1, 10)), [person], length=2), similar)
    assert lists[REASON].to_list() == ["picked for you", "because you viewed T1"]


def test_the_nearest_cause_is_named_before_a_later_one() -> None:
    person = Person("GB", [(1, VIEW), (1, VIEW), (3, PURCHASE)], [(2, 0.9)])
    similar = {1: [2, 4], 2: [1, 3], 3: [4, 2]} | {4: [1, 3]}
    lists = lists_with_reasons(World(9, set(range(1, 10)), [person], length=1), similar)
    assert lists[REASON].to_list() == ["because you viewed T1"]


def test_segment_lists_claim_nothing_of_their_reader() -> None:
    popular = {"country=GB": [(1, 2.0)], "all": [(2, 3.0), (1, 2.0)]}
    scene = scene_of(World(4, {1, 2, 3, 4}, [Person()], popular, new={3}))
    items = pl.Series([1, 2, 3, 4], dtype=pl.Int32).to_numpy()
    said = segment_reasons("country=GB", items, scene.popularity, scene.catalogue, 4)
    assert said == ["popular with people in GB", "popular now", "new", "available now"]
