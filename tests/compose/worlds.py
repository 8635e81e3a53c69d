"""Small worlds, hostile ones too, and the lists a plain Python program would make in them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from recjobs import columns
from recjobs.compose.audience import audience_of
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.config import ComposeConfig, SurfaceConfig
from recjobs.compose.popularity import POPULARITY_SCHEMA, arrange
from recjobs.compose.steps import LISTS, Origin, Scene

VIEW, PURCHASE, DISLIKE = 1, 2, 3
COLD_BELOW = 3
NOW = 20_000 * 86_400
"""The end of the histories, in Unix seconds."""
SEGMENT_BY = ["country", "age_band"]
SEGMENTS = ("all", "country=GB", "age_band=18-24", "country=GB&age_band=18-24")


@dataclass
class Person:
    """One user: country, events as (item, type) oldest first, candidates as (item, score), age band."""

    country: str | None = None
    events: list[tuple[int, int]] = field(default_factory=list)
    candidates: list[tuple[int, float]] = field(default_factory=list)
    age: str | None = None

    @property
    def segments(self) -> list[str]:
        """What the person is in, most specific first."""
        country, age = f"country={self.country}", f"age_band={self.age}"
        both = [f"{country}&{age}"] if self.country and self.age else []
        return [*both, *([country] if self.country else []), *([age] if self.age else [])]

    @property
    def cold(self) -> bool:
        return len(self.events) < COLD_BELOW


@dataclass
class World:
    """Items are 1 … `items`; `popular` has (item, weight) by segment, best first, eligible or not."""

    items: int
    eligible: set[int]
    people: list[Person]
    popular: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    new: set[int] = field(default_factory=set)
    length: int = 5
    categories: dict[int, str] = field(default_factory=dict)
    item_events: dict[int, int] = field(default_factory=dict)

    @property
    def full(self) -> int:
        return min(self.length, len(self.eligible))


def config_of(world: World) -> ComposeConfig:
    surfaces = {"home": SurfaceConfig(length=world.length, no_repeat=["purchase"])}
    return ComposeConfig(surfaces=surfaces, cold_threshold=COLD_BELOW, segment_by=SEGMENT_BY, segment_support=1)


def scene_of(world: World) -> Scene:
    """What the steps see of `world`."""
    everything = range(world.items + 1)
    catalogue = Catalogue(
        item_id=pl.Series([None, *(f"i{number}" for number in everything[1:])], dtype=pl.String),
        title=pl.Series([None, *(f"T{number}" for number in everything[1:])], dtype=pl.String),
        eligible=np.array([number in world.eligible for number in everything]),
        new=np.array([number in world.new for number in everything]),
        category=pl.Series([None, *(world.categories.get(number) for number in everything[1:])], dtype=pl.String),
        age=np.array([1.0 if number in world.new else 400.0 for number in everything]),
        events=np.array([world.item_events.get(number, 0) for number in everything]),
    )
    rows = [
        (segment, item, weight)
        for segment, popular in sorted(world.popular.items())
        for item, weight in popular
        if item in world.eligible
    ]
    transposed = list(zip(*rows, strict=True)) or [(), (), ()]
    table = pa.table(
        [pa.array(column, kind.type) for column, kind in zip(transposed, POPULARITY_SCHEMA, strict=True)],
        schema=POPULARITY_SCHEMA,
    )
    popularity = arrange(table, catalogue)
    config = config_of(world)
    audience = audience_of(states_of(world.people), config, popularity)
    return Scene(audience, catalogue, popularity, config.surfaces["home"], frozenset({PURCHASE}))


def states_of(people: list[Person]) -> pa.Table:
    """User states with what `compose` reads of them."""
    lists = pa.list_(pa.int32())
    pairs = [list(dict.fromkeys(reversed(person.events))) for person in people]
    return pa.table(
        {
            columns.USER: pa.array([f"u{number:03d}" for number in range(len(people))], pa.string()),
            columns.N_EVENTS: pa.array([len(person.events) for person in people], pa.int32()),
            columns.COUNTRY: pa.array([person.country for person in people], pa.string()),
            columns.AGE_BAND: pa.array([person.age for person in people], pa.string()),
            columns.HISTORY_ITEM: pa.array([[item for item, _ in person.events] for person in people], lists),
            columns.HISTORY_TYPE: pa.array([[kind for _, kind in person.events] for person in people], lists),
            columns.PAIR_ITEM: pa.array([[item for item, _ in mine] for mine in pairs], lists),
            columns.PAIR_TYPE: pa.array([[kind for _, kind in mine] for mine in pairs], lists),
            columns.PAIR_LAST: pa.array([_last(*one) for one in zip(people, pairs, strict=True)], pa.list_(pa.int64())),
        }
    )


def _last(person: Person, pairs: list[tuple[int, int]]) -> list[int]:
    """When each pair was last: an event a day, the last one a day before `NOW`."""
    ago = {pair: len(person.events) - place for place, pair in enumerate(person.events)}
    return [NOW - 86_400 * ago[pair] for pair in pairs]


def candidates_of(world: World) -> pl.DataFrame:
    """The candidates of everybody as the table that steps pass on."""
    rows = [
        (row, item, score, int(Origin.MODEL))
        for row, person in enumerate(world.people)
        for item, score in person.candidates
    ]
    return pl.DataFrame(rows, schema=LISTS, orient="row")


def naive_list(world: World, person: Person) -> list[int]:
    """The items of one user's finished list, by the rules read aloud."""
    bought = {item for item, kind in person.events if kind == PURCHASE}
    ordered = sorted(person.candidates, key=lambda candidate: -np.float32(candidate[1]))
    models = [item for item, _ in ordered if item in world.eligible and item not in bought]
    own = [item for name in person.segments for item, _ in world.popular.get(name, [])]
    everybody = [item for item, _ in world.popular.get("all", [])]
    shelf = by_category(world)
    order = _distinct(item for item in [*own, *everybody, *shelf])
    fallbacks = [item for item in order if item in world.eligible]
    allowed = [item for item in fallbacks if item not in bought]
    if person.cold:
        share = max(0.5 * (1 - len(person.events) / COLD_BELOW), 1e-6)
        models = _by_turns(allowed[: world.full], _distinct(models), share)
    repeats = [item for item in _distinct([*everybody, *shelf]) if item in world.eligible & bought]
    return _distinct([*_distinct(models)[: world.full], *allowed, *repeats])[: world.full]


def by_category(world: World) -> list[int]:
    """What may be shown, by the mean weight of its category, then by index."""
    weights = dict(world.popular.get("all", []))
    members: dict[str, list[float]] = {}
    for item in world.eligible:
        members.setdefault(world.categories.get(item, ""), []).append(weights.get(item, 0.0))
    members.pop("", None)
    means = {category: sum(found) / len(found) for category, found in members.items()}
    return sorted(world.eligible, key=lambda item: (-means.get(world.categories.get(item, ""), 0.0), item))


def _by_turns(first: list[int], second: list[int], share: float) -> list[int]:
    turns = [((place + 0.5) / share, 0, item) for place, item in enumerate(first)]
    turns += [((place + 0.5) / (1 - share), 1, item) for place, item in enumerate(second)]
    return _distinct(item for *_, item in sorted(turns))


def _distinct(items: object) -> list[int]:
    return list(dict.fromkeys(items))  # type: ignore[call-overload]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Up to nine items of which at least one may be shown; users with few, no or nothing but hopeless candidates."""
    items = draw(st.integers(1, 9))
    some_item = st.integers(1, items)
    # An index that is in no catalogue: what a candidate of another night would be.
    any_item = st.integers(0, items + 2)
    score = st.floats(-5, 5, width=32)
    event = st.tuples(some_item, st.sampled_from([VIEW, PURCHASE, DISLIKE]))
    person = st.builds(
        Person,
        st.sampled_from(["GB", "FR", None]),
        st.lists(event, max_size=8),
        st.lists(st.tuples(any_item, score), max_size=12),
        st.sampled_from(["18-24", None]),
    )
    popular = st.lists(some_item, unique=True).map(
        lambda chosen: [(item, float(len(chosen) - place)) for place, item in enumerate(chosen)]
    )
    return World(
        items=items,
        eligible=draw(st.sets(some_item, min_size=1)),
        people=draw(st.lists(person, min_size=1, max_size=6)),
        popular={name: draw(popular) for name in SEGMENTS},
        new=draw(st.sets(some_item)),
        length=draw(st.integers(1, 6)),
        categories=draw(st.dictionaries(some_item, st.sampled_from(["home/kitchen", "toys"]))),
    )
