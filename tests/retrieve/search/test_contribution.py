from __future__ import annotations

import polars as pl

from recjobs import columns
from recjobs.retrieve.search.contribution import contribution

TOWERS, NEW = columns.source_bit("towers"), columns.source_bit("new")


def test_each_source_is_told_by_what_it_found_and_what_only_it_found() -> None:
    candidates = pl.DataFrame(
        {
            columns.USER: ["a", "b", "c"],
            columns.ITEM_INDEX: [[1, 2, 3], [1, 4, 5], []],
            columns.SOURCE: [[TOWERS, TOWERS | NEW, NEW], [TOWERS, TOWERS, NEW], []],
        },
        schema_overrides={columns.ITEM_INDEX: pl.List(pl.Int32), columns.SOURCE: pl.List(pl.Int16)},
    )
    outcomes = pl.DataFrame(
        {columns.USER: ["a", "a", "a", "b", "b", "z"], columns.ITEM_INDEX: [2, 3, 3, 4, 9, 1]},
        schema_overrides={columns.ITEM_INDEX: pl.Int32},
    )
    rows = {row[columns.SOURCE]: row for row in contribution(candidates, outcomes).rows(named=True)}
    assert list(rows) == [*columns.SOURCES, "all"]
    assert rows["towers"] == {"source": "towers", "share": 4 / 6, "alone": 3 / 6, "recall": 0.5, "recall_alone": 0.25}
    assert rows["new"] == {"source": "new", "share": 3 / 6, "alone": 2 / 6, "recall": 0.5, "recall_alone": 0.25}
    assert rows["all"]["recall"] == 0.75
    assert rows["repeat"]["recall"] == rows["repeat"]["share"] == 0


def test_without_outcomes_there_is_no_recall() -> None:
    candidates = pl.DataFrame({columns.USER: ["a"], columns.ITEM_INDEX: [[1]], columns.SOURCE: [[TOWERS]]})
    nothing = pl.DataFrame(schema={columns.USER: pl.String, columns.ITEM_INDEX: pl.Int64})
    assert contribution(candidates, nothing)["recall"].to_list() == [None] * (len(columns.SOURCES) + 1)
