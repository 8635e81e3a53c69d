"""Each promise is broken once, and its check must tell."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recjobs.extract import checks, stage
from tests.extract.streams import FIRST, Event, World, deliver, extract, moment, settings, without_beam

DS = FIRST + timedelta(days=1)


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pa.Table:
    monkeypatch.setattr(stage, "run_pass", without_beam)
    world = World(
        [Event(user, item, "view", moment(day), 1) for user in ("ann", "bob") for day, item in enumerate(("a", "b"))]
    )
    deliver(tmp_path, world, 2)
    manifest = extract(tmp_path, settings(tmp_path, beam__shards=1), DS)
    assert all(check.passed for check in manifest.checks)
    return pq.read_table(manifest.uri("users", "part-00000.parquet"))


def replaced(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))


@pytest.mark.parametrize(
    ("promise", "name", "values"),
    [
        ("users_not_unique", "user_id", ["ann", "ann"]),
        ("users_not_unique", "user_id", ["bob", "ann"]),
        ("user_index_gaps", "user_index", [1, 3]),
        ("histories_unsorted", "history_time", [[9, 8], [1, 2]]),
        ("after_cutoff", "history_time", [[1, 2], [1, int(moment(2).timestamp())]]),
        ("after_cutoff", "pair_last", [[1, 2], [1, int(moment(2).timestamp())]]),
        ("after_cutoff", "last_event", [moment(1), moment(2)]),
        ("unknown_items", "history_item", [[1, 3], [1, 2]]),
        ("unknown_items", "history_item", [[1, 0], [1, 2]]),
    ],
)
def test_a_broken_promise_is_told(users: pa.Table, promise: str, name: str, values: list[Any]) -> None:
    broken = checks.faults_of_users(replaced(users, name, values), 0, DS, 3)
    assert {fault for fault, count in broken.items() if count} == {promise}
    told = {check.name: check for check in checks.promises([broken])}
    assert not told[promise].passed
    assert told[promise].severity == "refuse"
    assert told[promise].detail.startswith("1 ")


def test_items_and_events() -> None:
    items = pl.DataFrame({"item_index": [1, 2, 4], "item_id": ["a", "b", "b"]})
    assert checks.faults_of_items(items) == {"item_index_gaps": 2}
    events = pl.DataFrame({"user_id": ["a", "b", "b", "a"], "timestamp": [moment(1), moment(1), moment(0), moment(2)]})
    assert checks.misordered_events(events) == 2
