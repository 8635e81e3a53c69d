"""Why an item is on a list, in words that are true by construction: each is checked against the data it speaks of.

In order of precedence:

1. `buy again`: the user bought the item before. `you looked at this before`: another event of positive weight.
2. `because you bought T`, `because you viewed T`, `because you added T to your cart`, `because of T` (other event
   types): the item is like T, one of the user's last `reason_history` distinct items; of several the one it is nearest
   to, then the latest, with the user's latest event on it. Items the user disliked are never named. Alike are items of
   which one is among the `reason_neighbours` nearest of the other, and that among twice as many of its own: what is
   near to everything, as bestsellers and odd ends are, is no reason.
3. `popular with people in GB aged 25-34`: among the items with the highest weight in a segment of the user's, as many
   as a list is long; the most specific such segment.
4. `popular now`: the same, over all users.
5. `new in C`: created, or first seen, in the last `new_days` days, and of category C; `new` where that is unknown.
6. `picked for you`: the models put it here. `available now`: nothing but the catalogue did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.columns import GLOBAL_SEGMENT, ITEM_INDEX, REASON
from recjobs.compose.audience import PLACE, ROW, TYPE
from recjobs.compose.catalogue import Catalogue
from recjobs.compose.popularity import Popularity
from recjobs.compose.rules import first_of_each
from recjobs.compose.segments import spoken
from recjobs.compose.steps import ORIGIN, Origin, Scene, Stepped
from recjobs.ragged import Ints, flat_lists, places, places_in_runs
from recjobs.sources.config import EventType

PURCHASE = "purchase"
PHRASES = {
    PURCHASE: "because you bought {}",
    "view": "because you viewed {}",
    "cart": "because you added {} to your cart",
}
OTHER_PHRASE = "because of {}"
BUY_AGAIN, SEEN, POPULAR_WITH, POPULAR_NOW = (
    "buy again",
    "you looked at this before",
    "popular with {}",
    "popular now",
)
NEW, NEW_IN, PICKED, AVAILABLE = "new", "new in {}", "picked for you", "available now"
_PATH_END = r"([^/>|]*[^/>|\s])\s*[/>|\s]*$"
"""The last part of a category's path."""

_KEY = "key"
_CAUSE = "cause"


@dataclass(frozen=True)
class Neighbours:
    """The nearest items of each item, as flat arrays."""

    items: npt.NDArray[np.int32]
    starts: Ints
    """[I + 2]: where the neighbours of each item index begin in `items`; each item's nearest first."""

    @property
    def lengths(self) -> Ints:
        """[I + 1]: how many neighbours each item has."""
        return np.diff(self.starts)


def load_neighbours(uri: str, size: int, at_most: int, *, mutual: bool = False) -> Neighbours:
    """The `at_most` nearest of each of `size` items, from `retrieve/search`'s similar.parquet.

    With `mutual` only those that have it among twice as many nearest of their own.
    """
    with storage.reading(uri) as stream:
        table = pq.read_table(stream, columns=[columns.ITEM_INDEX, columns.SIMILAR_INDEX])
    return neighbours_of(table, size, at_most, mutual=mutual)


def neighbours_of(table: pa.Table, size: int, at_most: int, *, mutual: bool = False) -> Neighbours:
    """`load_neighbours` of a table in memory."""
    owners = table.column(columns.ITEM_INDEX).to_numpy().astype(np.int64)
    items, lengths = flat_lists(table.column(columns.SIMILAR_INDEX))
    owner, place = np.repeat(owners, lengths), places(lengths)
    near = place < at_most
    if mutual:
        back = place < 2 * at_most
        near &= np.isin(owner * (size + 1) + items, items[back] * np.int64(size + 1) + owner[back])
    kept = owner[near]
    order = np.argsort(kept, kind="stable")
    starts = np.r_[0, np.cumsum(np.bincount(kept, minlength=size + 1))].astype(np.int64)
    return Neighbours(items[near][order].astype(np.int32), starts)


@dataclass(frozen=True)
class EventWords:
    """What the user's events are called in reasons, by event code."""

    phrases: dict[int, str]
    """With `{}` for the title; only types of positive weight."""
    purchases: frozenset[int]
    dislikes: frozenset[int]

    def around(self) -> tuple[dict[int, str], dict[int, str]]:
        """What stands before and after the title, by event code."""
        parts = {code: phrase.partition("{}") for code, phrase in self.phrases.items()}
        return {code: part[0] for code, part in parts.items()}, {code: part[2] for code, part in parts.items()}


def event_words(types: Mapping[str, EventType], codes: Mapping[str, int]) -> EventWords:
    """The words for the event types of settings. A type counts as a purchase by its name or its task."""
    bought = {name for name, kind in types.items() if PURCHASE in (name, kind.task) and kind.weight > 0}
    phrases = {
        codes[name]: PHRASES.get(PURCHASE if name in bought else name, OTHER_PHRASE)
        for name, kind in types.items()
        if kind.weight > 0
    }
    dislikes = frozenset(codes[name] for name, kind in types.items() if kind.weight < 0)
    return EventWords(phrases, frozenset(codes[name] for name in bought), dislikes)


@dataclass(frozen=True)
class Reasons:
    """Adds column `reason` (String) to full lists. Changes no row."""

    neighbours: Neighbours
    words: EventWords
    history: int
    """How many of a user's latest items may be named."""
    name: str = "reasons"

    def __call__(self, lists: pl.DataFrame, scene: Scene) -> Stepped:
        """The lists with their reasons."""
        items = lists[ITEM_INDEX].to_numpy()
        bought = scene.audience.pairs_of(set(self.words.purchases))
        facts = self._causes(lists, scene).with_columns(
            again=scene.among(lists, pl.Series(scene.keys(bought))),
            seen=scene.among(lists, pl.Series(scene.keys(scene.audience.pairs_of(set(self.words.phrases))))),
            popular=popular_words(scene, lists),
            new=new_words(scene.catalogue).gather(items),
            origin=lists[ORIGIN],
        )
        return Stepped(lists.with_columns(facts.select(_sentence().alias(REASON)).to_series()))

    def _causes(self, lists: pl.DataFrame, scene: Scene) -> pl.DataFrame:
        """For each row of `lists`, in its order, what to say of the item that brought it; null where none did."""
        past = self._recent_items(scene)
        causes = past[ITEM_INDEX].to_numpy()
        known = np.where(scene.catalogue.known(causes), causes, 0)
        counts = self.neighbours.lengths[known]
        nearby = self.neighbours.items[np.repeat(self.neighbours.starts[known], counts) + places(counts)]
        rows = np.repeat(past[ROW].to_numpy(), counts)
        listed = pl.Series(_KEY, scene.keys(lists))
        brought = pl.DataFrame(
            {
                _KEY: scene.catalogue.keys(rows, nearby),
                _CAUSE: np.repeat(causes, counts),
                TYPE: np.repeat(past[TYPE].to_numpy(), counts),
                PLACE: places(counts),
            }
        ).filter(pl.col(_KEY).is_in(listed.implode()))
        # Latest first within a user, so that of equally near causes the latest comes first.
        first = brought.sort(PLACE, maintain_order=True).unique(_KEY, keep="first", maintain_order=True)
        joined = listed.to_frame().join(first, on=_KEY, how="left", maintain_order="left")
        title = scene.catalogue.title.gather(joined[_CAUSE].fill_null(0))
        before, after = (
            joined[TYPE].replace_strict(part, default=None, return_dtype=pl.String) for part in self.words.around()
        )
        return pl.select(pl.concat_str(before, title, after).alias("because"))

    def _recent_items(self, scene: Scene) -> pl.DataFrame:
        """Each user's latest distinct items with the latest event on each, without disliked ones, latest first."""
        liked = scene.audience.history.filter(pl.col(TYPE).is_in(list(self.words.phrases)))
        disliked = pl.Series(scene.keys(scene.audience.pairs_of(set(self.words.dislikes))))
        latest = (
            liked.filter(~scene.among(liked, disliked))
            .sort(ROW, PLACE)
            .unique([ROW, ITEM_INDEX], keep="first", maintain_order=True)
        )
        limits = np.full(scene.audience.size, self.history, np.int64)
        return first_of_each(latest, limits, places_in_runs(latest[ROW].to_numpy()))


def _sentence() -> pl.Expr:
    return (
        pl.when("again")
        .then(pl.lit(BUY_AGAIN))
        .when("seen")
        .then(pl.lit(SEEN))
        .when(pl.col("because").is_not_null())
        .then("because")
        .when(pl.col("popular").is_not_null())
        .then("popular")
        .when(pl.col("new").is_not_null())
        .then("new")
        .when(pl.col(ORIGIN) == int(Origin.MODEL))
        .then(pl.lit(PICKED))
        .otherwise(pl.lit(AVAILABLE))
    )


def segment_reasons(
    segment: str, items: npt.NDArray[np.int32], popularity: Popularity, catalogue: Catalogue, length: int
) -> list[str]:
    """The reasons of a segment's list: the same facts, for a reader who is not known."""
    code = popularity.segments.index(segment)
    own, now = (_top(popularity, at, length) for at in (code, 0))
    fresh = new_words(catalogue).gather(items)
    facts = zip(np.isin(items, own), np.isin(items, now), fresh, strict=True)
    return [
        popular_with(segment) if code and here else POPULAR_NOW if there else new or AVAILABLE
        for here, there, new in facts
    ]


def popular_with(segment: str) -> str:
    """What is said of an item that is popular in `segment`."""
    return POPULAR_NOW if segment == GLOBAL_SEGMENT else POPULAR_WITH.format(spoken(segment))


def new_words(catalogue: Catalogue) -> pl.Series:
    """String[I + 1]: what is said of a new item; null for all others."""
    ends = catalogue.category.str.extract(_PATH_END).str.strip_chars()
    said = pl.select(pl.coalesce(pl.format(NEW_IN, ends), pl.lit(NEW))).to_series()
    return pl.select(pl.when(pl.Series(catalogue.new)).then(said)).to_series()


def popular_words(scene: Scene, lists: pl.DataFrame) -> pl.Series:
    """For each row of `lists` what to say where the item is popular with the user's people; else null."""
    items, rows = lists[ITEM_INDEX].to_numpy(), lists[ROW].to_numpy()
    popular = _popular_keys(scene.popularity, scene.catalogue.size, scene.length)
    words = pl.Series([popular_with(name) for name in scene.popularity.segments], dtype=pl.String)
    levels = [level[rows] for level in (*scene.audience.segments.T, np.zeros(scene.audience.size, np.int32))]
    found = [pl.when(_popular(scene, level, items, popular)).then(words.gather(level)) for level in levels]
    return pl.select(pl.coalesce(found)).to_series()


def _top(popularity: Popularity, segment: int, length: int) -> npt.NDArray[np.int32]:
    items, weights = popularity.of(segment)
    return items[:length][weights[:length] > 0]


def _popular_keys(popularity: Popularity, size: int, length: int) -> pl.Series:
    """Keys of each segment's most popular items, `length` of them at most."""
    segments = np.repeat(np.arange(len(popularity.segments), dtype=np.int64), popularity.lengths)
    top = (places(popularity.lengths) < length) & (popularity.weights > 0)
    return pl.Series(segments[top] * (size + 1) + popularity.items[top])


def _popular(
    scene: Scene, segments: npt.NDArray[np.int32], items: npt.NDArray[np.int32], popular: pl.Series
) -> pl.Series:
    return pl.Series(scene.catalogue.keys(segments, items)).is_in(popular.implode())
