"""An extract that goes on from an earlier one equals the one of the whole window, file by file."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recjobs import storage
from recjobs.extract import canonical, splitting, stage
from recjobs.extract.continued import Change
from recjobs.extract.job import Job
from recjobs.manifest import Manifest, SourceFile
from recjobs.settings import Settings
from recjobs.sources.contract import Contract
from recjobs.sources.reading import Block
from tests.extract.streams import (
    FIRST,
    ITEM_TYPES,
    USER_TYPES,
    WORLD_BY_WORLD,
    Event,
    World,
    deliver,
    extract,
    moment,
    parts,
    settings,
    without_beam,
    write,
)

DAYS = 16
LATE = 2
TOLD = ("quarantine", "report.json")
"""What tells of the files that were read, and so differs."""


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "run_pass", without_beam)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@st.composite
def event(draw: st.DrawFn) -> Event:
    """Late, repeated, out-of-order and dirty rows over few users, items and seconds, so that all meet."""
    arrived = draw(st.integers(0, DAYS - 1))
    kind = draw(st.sampled_from(["view", "view", "search", "buy", "buy", "typo"]))
    return Event(
        user_id=draw(st.sampled_from(["ann", "bob", "cy", "dée", "eve", None])),
        item_id=None if kind == "search" else draw(st.sampled_from(["a", "b", "c", "d", "e"])),
        event_type=kind,
        timestamp=moment(arrived - draw(st.integers(0, LATE)), draw(st.sampled_from([0, 1, 86_399]))),
        arrived=arrived,
        event_id=draw(st.sampled_from([None, None, "1", "2", "3", "4", "5", "6", "7"])),
        country=draw(st.sampled_from([None, "FR", "DE"])),
        device=draw(st.sampled_from([None, "phone", "desk"])),
    )


ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": st.sampled_from(["a", "b", "x"]),
            "title": st.sampled_from([None, "Blue Cup", "blue tea pot"]),
            "price": st.sampled_from([None, 1.0, 9.5]),
            "available": st.sampled_from([None, True, False]),
        }
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda row: row["item_id"],
)
USERS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from(["ann", "bob", "zoe"]),
            "country": st.sampled_from([None, "GB"]),
            "age": st.sampled_from([None, 30]),
        }
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda row: row["user_id"],
)
SNAPSHOTS = st.lists(st.tuples(ITEMS, USERS), min_size=2, max_size=2)
NIGHTS = st.lists(st.integers(3, DAYS - 1), min_size=2, max_size=4, unique=True).map(sorted)


@given(
    events=st.lists(event(), min_size=30, max_size=80),
    snapshots=SNAPSHOTS,
    nights=NIGHTS,
    lags=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    identity=st.sampled_from([[], ["item_id", "timestamp"], ["item_id"]]),
    window=st.sampled_from([3, 5, 8, 30]),
    limits=st.sampled_from([(3, 4), (50, 1000)]),
)
@hypothesis_settings(WORLD_BY_WORLD, max_examples=8)
def test_going_on_equals_the_whole_window(
    events: list[Event],
    snapshots: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]],
    nights: list[int],
    lags: tuple[int, int],
    identity: list[str],
    window: int,
    limits: tuple[int, int],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        deliver(folder, World(events), DAYS)
        for number, (items, users) in enumerate(snapshots):
            day = FIRST + timedelta(days=5 * number)
            write(pl.DataFrame(items, ITEM_TYPES), folder / "items" / f"{day}.parquet")
            write(pl.DataFrame(users, USER_TYPES), folder / "users" / f"{day}.parquet")
        config = settings(
            folder,
            events__identity=identity,
            time__train_lag_days=lags[0],
            time__history_lag_days=lags[1],
            time__window_days=window,
            time__late_days=LATE,
            extract__history_length=limits[0],
            extract__pair_limit=limits[1],
        )
        before: Manifest | None = None
        for night in nights:
            ds = FIRST + timedelta(days=night)
            made = extract(folder, config, ds, f"on {night}", before)
            assert_equal(made, extract(folder, config, ds, f"whole {night}"))
            before = made


def assert_equal(made: Manifest, whole: Manifest) -> None:
    found, expected = content_of(made), content_of(whole)
    assert found.keys() == expected.keys()
    for name, content in expected.items():
        if name.endswith(".parquet"):
            frames = [pl.read_parquet(io.BytesIO(one)) for one in (found[name], content)]
            assert frames[0].schema == frames[1].schema, name
            assert frames[0].rows() == frames[1].rows(), name
        else:
            assert found[name] == content, name
    assert made.checks == whole.checks
    assert all(check.passed for check in made.checks)
    assert {**made.rows, "quarantine": 0} == {**whole.rows, "quarantine": 0}


def content_of(manifest: Manifest) -> dict[str, bytes]:
    files = storage.list_files(manifest.folder)
    return {file.name: storage.read_bytes(file.uri) for file in files if not file.name.startswith(TOLD)}


@pytest.fixture
def world(folder: Path) -> tuple[Path, Settings]:
    """Twenty days of three users; cy has not been seen since the first week."""
    rows = [
        Event(user, item, "view", moment(day, 7), day, f"{user}{day}{item}")
        for day in range(20)
        for user, item in (("ann", "a"), ("bob", "b"), ("cy", "c"))
        if user != "cy" or day < 5
    ]
    deliver(folder, World(rows), 20)
    return folder, settings(folder, time__window_days=30)


def night(day: int) -> date:
    return FIRST + timedelta(days=day)


def test_earlier_days_are_not_read_again(world: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, config = world
    before = extract(folder, config, night(17), "before")
    whole = extract(folder, config, night(19), "whole")
    read: list[str] = []
    blocks = splitting.read_blocks

    def noted(file: SourceFile, contract: Contract) -> Iterator[Block]:
        read.append(file.uri)
        return blocks(file, contract)

    monkeypatch.setattr(splitting, "read_blocks", noted)
    made = extract(folder, config, night(19), "on", before)
    events = [uri for uri in read if "/events/" in uri]
    assert [uri.split("date=")[1][:10] for uri in events] == [str(night(18)), str(night(19))]
    assert_equal(made, whole)
    report = json.loads(storage.read_bytes(made.uri("report.json")))
    assert (report["read_after"], report["read"], report["kept"]) == (str(night(17)), 4, 4)
    assert json.loads(storage.read_bytes(whole.uri("report.json")))["read_after"] is None
    assert f"made from the extract of {night(17)}" in made.notes[0]


def test_weeks_that_nothing_touches_are_the_same_files(world: tuple[Path, Settings]) -> None:
    folder, config = world
    before = extract(folder, config, night(18), "before")
    made = extract(folder, config, night(19), "on", before)
    changed = {
        file.name.split("/")[0]
        for file in made.parts("events")
        if Path(file.uri).stat().st_ino != Path(before.uri("events", file.name)).stat().st_ino
    }
    assert len({file.name.split("/")[0] for file in made.parts("events")}) == 4
    assert changed == {"from=2026-03-16"}


def test_items_are_counted_again_only_where_somebody_was_forgotten(
    world: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The past's counts hold whoever was forgotten in it since."""
    folder, config = world
    before = extract(folder, config, night(18), "before")
    whole = extract(folder, config, night(19), "whole")
    counted: list[int] = []
    everything = canonical._everything

    def noted(job: Job, shard: int, change: Change) -> pl.DataFrame:
        counted.append(shard)
        return everything(job, shard, change)

    monkeypatch.setattr(canonical, "_everything", noted)
    assert_equal(extract(folder, config, night(19), "on", before), whole)
    assert counted == []
    # One who was left out from the beginning, as the manifest of such a night tells.
    free = extract(folder, config, night(18), "free", left_out=("0" * 64,))
    free = free.model_copy(update={"forgotten": {"0" * 64: 0}})
    counted.clear()
    extract(folder, config, night(19), "freely on", free, left_out=("0" * 64,))
    assert counted == []
    rid = before.model_copy(update={"forgotten": {"somebody": 1}})
    assert_equal(extract(folder, config, night(19), "again", rid), whole)
    assert counted == list(range(config.beam.shards))


def test_an_items_next_first_event_is_found_in_any_week(folder: Path) -> None:
    """a's first event leaves the window; its next one is five weeks later, and of another user than b's."""
    rows = [Event("ann", "a", "view", moment(0), 0, "1"), Event("bob", "a", "view", moment(37), 37, "2")]
    rows += [Event("cy", "b", "view", moment(day), day, f"b{day}") for day in range(42)]
    deliver(folder, World(rows), 42)
    config = settings(folder, time__window_days=41)
    before = extract(folder, config, night(40), "before")
    made = extract(folder, config, night(41), "on", before)
    items = pl.read_parquet(made.uri("items.parquet"))
    assert dict(zip(items["item_id"], items["first_event"], strict=True)) == {
        **dict.fromkeys(items["item_id"], None),
        "a": moment(37),
        "b": moment(1),
    }
    assert_equal(made, extract(folder, config, night(41), "whole"))


@pytest.mark.parametrize(("limit", "pairs"), [(2, ["c", "a"]), (9, ["c", "a", "b"])])
def test_tied_pairs_follow_the_items_new_indexes(folder: Path, limit: int, pairs: list[str]) -> None:
    """Nothing happens to ann, but c becomes the most popular item."""
    rows = [Event("ann", item, "view", moment(10), 10, item) for item in ("a", "b", "c")]
    rows += [Event("bob", "c", "buy", moment(15, second), 15, str(second)) for second in range(3)]
    deliver(folder, World(rows), 16)
    config = settings(folder, extract__pair_limit=limit)
    before = extract(folder, config, night(14), "before")
    made = extract(folder, config, night(15), "on", before)
    items = pl.read_parquet(made.uri("items.parquet"))
    names = dict(zip(items["item_index"], items["item_id"], strict=True))
    (ann,) = parts(made, "users").filter(user_id="ann")["pair_item"].to_list()
    assert [names[index] for index in ann] == pairs
    assert_equal(made, extract(folder, config, night(15), "whole"))


def test_an_event_that_is_too_late_reads_the_whole_window_again_and_says_so(world: tuple[Path, Settings]) -> None:
    folder, config = world
    before = extract(folder, config, night(18), "before")
    path = folder / "events" / f"date={night(19)}" / "rows.parquet"
    rows = pl.read_parquet(path)
    write(pl.concat([rows, rows.head(1).with_columns(timestamp=pl.lit(moment(12)), event_id=pl.lit("late"))]), path)
    made = extract(folder, config, night(19), "on", before)
    assert made.notes == ("the whole window was read again: 1 events arrived more than 1 days late",)
    assert_equal(made, extract(folder, config, night(19), "whole"))
    assert len(made.parts("quarantine")) == len(extract(folder, config, night(19), "again").parts("quarantine"))


def test_a_repetition_of_a_later_day_goes_too(world: tuple[Path, Settings]) -> None:
    folder, config = world
    before = extract(folder, config, night(18), "before")
    path = folder / "events" / f"date={night(19)}" / "rows.parquet"
    again = pl.read_parquet(folder / "events" / f"date={night(18)}" / "rows.parquet")
    write(pl.concat([pl.read_parquet(path), again]), path)
    made = extract(folder, config, night(19), "on", before)
    assert made.rows["events"] == before.rows["events"] + 2
    assert json.loads(storage.read_bytes(made.uri("report.json")))["duplicates"] == 2
    assert_equal(made, extract(folder, config, night(19), "whole"))


def test_what_does_not_do_is_not_gone_on_from(world: tuple[Path, Settings]) -> None:
    folder, config = world
    before = extract(folder, config, night(18), "before")
    path = folder / "events" / f"date={night(10)}" / "rows.parquet"
    write(pl.read_parquet(path).head(1), path)
    made = extract(folder, config, night(19), "on", before)
    assert made.notes == (f"the whole window was read: files of events have changed since the extract of {night(18)}",)
    younger = extract(folder, config, night(17), "younger", made)
    assert "is not of the window" in younger.notes[0]
