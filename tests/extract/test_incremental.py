"""An extract that goes on from an earlier one equals the one of the whole window, file by file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recjobs import storage
from recjobs.extract import stage
from recjobs.manifest import Manifest
from tests.extract.streams import (
    FIRST,
    ITEM_TYPES,
    USER_TYPES,
    Event,
    World,
    deliver,
    extract,
    moment,
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
@hypothesis_settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
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
