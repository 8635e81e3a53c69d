"""Tables of items, and lists of one or many users, for the tests of rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from recjobs import columns
from recjobs.columns import ITEM_INDEX, SCORE
from recjobs.compose.audience import ROW
from recjobs.compose.conditions import with_age
from recjobs.compose.config import ComposeConfig
from recjobs.compose.steps import LISTS, ORIGIN, Scene
from tests.compose.worlds import Person, World, scene_of

DS = date(2026, 3, 31)


def items_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Items i1, i2, … with these cells; what is missing is null. `age` in days."""
    end = datetime(DS.year, DS.month, DS.day, tzinfo=UTC) + timedelta(days=1)
    table = [
        {
            columns.ITEM: f"i{number}",
            columns.CATEGORY: None,
            columns.BRAND: None,
            columns.PRICE: None,
            columns.AVAILABLE: True,
            columns.N_EVENTS: 100,
            columns.CREATED_AT: end - timedelta(days=row["age"]) if "age" in row else None,
            columns.FIRST_EVENT: None,
            **{name: value for name, value in row.items() if name != "age"},
        }
        for number, row in enumerate(rows, start=1)
    ]
    kinds = {columns.CATEGORY: pl.String, columns.BRAND: pl.String, columns.PRICE: pl.Float32}
    times = dict.fromkeys((columns.CREATED_AT, columns.FIRST_EVENT), pl.Datetime("us", "UTC"))
    return with_age(pl.DataFrame(table, schema_overrides={**kinds, **times}), DS)


def config_of(**sections: Any) -> ComposeConfig:
    """Settings with one surface, home: `home` are its own, the rest those of all."""
    surfaces = {"home": sections.pop("home", {})}
    return ComposeConfig.model_validate({**sections, "surfaces": surfaces})


def lists_of(*lists: list[int], scores: list[float] | None = None) -> pl.DataFrame:
    """One list of items a user, best first; scores fall by 1 from place to place."""
    rows = [
        (row, item, scores[place] if scores else float(len(items) - place), 0)
        for row, items in enumerate(lists)
        for place, item in enumerate(items)
    ]
    return pl.DataFrame(rows, schema=LISTS, orient="row")


def scene(items: int, users: int = 1, length: int = 5, eligible: set[int] | None = None) -> Scene:
    """Users who did nothing, in a catalogue of `items`."""
    everything = set(range(1, items + 1))
    return scene_of(World(items, eligible or everything, [Person() for _ in range(users)], length=length))


def listed(lists: pl.DataFrame, row: int = 0) -> list[int]:
    """The items of one user."""
    return lists.filter(pl.col(ROW) == row)[ITEM_INDEX].to_list()


def assert_sound(lists: pl.DataFrame) -> None:
    """What every step keeps: users in order, no item twice, scores that never rise."""
    assert lists.columns == list(LISTS)
    assert lists[ROW].is_sorted()
    assert not lists.select(ROW, ITEM_INDEX).is_duplicated().any()
    rises = lists[SCORE].diff().gt(0) & lists[ROW].diff().eq(0)
    assert not rises.fill_null(False).any()
    assert lists[ORIGIN].null_count() == 0


def random_lists(random: np.random.Generator, users: int, items: int, most: int) -> pl.DataFrame:
    """Lists of up to `most` items in any order, empty ones too."""
    drawn = [random.permutation(items)[: random.integers(0, most + 1)] + 1 for _ in range(users)]
    return lists_of(*(one.tolist() for one in drawn))
