"""The whole stage against plain Python, and the promises of DESIGN §3."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import ContractError, CorruptFileError, QuarantineLimitError
from recjobs.extract import stage
from recjobs.manifest import Manifest
from recjobs.settings import Settings
from tests.extract import reference
from tests.extract.streams import (
    FIRST,
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

DAYS = 6
DS = FIRST + timedelta(days=DAYS - 1)
QUICK = hypothesis_settings(WORLD_BY_WORLD, max_examples=12)


@pytest.fixture(autouse=True)
def _in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "through_beam" not in request.fixturenames:
        monkeypatch.setattr(stage, "run_pass", without_beam)


@pytest.fixture
def through_beam() -> None:
    """Asks for Beam itself."""


def events(clean: bool = False) -> st.SearchStrategy[list[Event]]:
    """Streams with late, repeated, out-of-order and dirty rows over few users, items and seconds, so that all meet."""

    @st.composite
    def one(draw: st.DrawFn) -> Event:
        arrived = draw(st.integers(0, DAYS - 1))
        behind = draw(st.integers(0, 4)) if clean else draw(st.integers(-1, 4))
        kind = draw(st.sampled_from(["view", "search", "buy"] if clean else ["view", "search", "buy", "typo"]))
        item = draw(st.sampled_from(["a", "b", "c", "d"]))
        return Event(
            user_id=draw(
                st.sampled_from(["ann", "bob", "cy", "dée"] if clean else ["ann", "bob", "cy", "dée", None, ""])
            ),
            item_id=None if kind == "search" or (not clean and draw(st.integers(0, 9)) == 0) else item,
            event_type=kind,
            timestamp=moment(arrived - behind, draw(st.sampled_from([0, 1, 2, 86_399]))),
            arrived=arrived,
            event_id=draw(st.sampled_from([None, None, "1", "2", "3", "4", "5"])),
            country=draw(st.sampled_from([None, "FR", "DE"])),
            device=draw(st.sampled_from([None, "phone", "desk"])),
        )

    return st.lists(one(), min_size=10, max_size=40)


ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "item_id": st.sampled_from(["a", "b", "x"]),
            "title": st.sampled_from([None, "Blue Cup", "blue tea pot"]),
            "price": st.sampled_from([None, 1.0, 9.5]),
            "colour": st.sampled_from([None, "red", "sky"]),
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
            "user_id": st.sampled_from(["ann", "zoe"]),
            "country": st.sampled_from([None, "GB"]),
            "age": st.sampled_from([None, 30]),
        }
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda row: row["user_id"],
)
WORLDS = st.builds(World, events(), ITEMS, USERS)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def ran(
    world: World, form: str = "parquet", ds: date = DS, days: int = DAYS, **overrides: Any
) -> tuple[Manifest, Settings, Any]:
    """The stage on a world in a folder of its own, which lives as long as the last value returned."""
    keep = tempfile.TemporaryDirectory()
    folder = Path(keep.name)
    deliver(folder, world, days, form)
    config = settings(folder, **({"events__format": form, "items__format": form, "users__format": form} | overrides))
    return extract(folder, config, ds), config, keep


@given(
    world=WORLDS,
    train_lag=st.integers(0, 2),
    history_lag=st.integers(0, 2),
    identity=st.sampled_from([[], ["item_id", "timestamp"]]),
    window=st.sampled_from([3, 10]),
)
@QUICK
def test_equals_plain_python(world: World, train_lag: int, history_lag: int, identity: list[str], window: int) -> None:
    manifest, config, _keep = ran(
        world,
        time__train_lag_days=train_lag,
        time__history_lag_days=history_lag,
        events__identity=identity,
        time__window_days=window,
    )
    _assert_events(manifest, world, config)
    _assert_items(manifest, world, config)
    _assert_users(manifest, world, config)
    expected = reference.vocabulary(world, config, DS)
    assert set(pl.read_parquet(manifest.uri("vocabulary.parquet")).iter_rows()) == expected
    assert all(check.passed for check in manifest.checks), manifest.checks


def _assert_events(manifest: Manifest, world: World, config: Settings) -> None:
    expected = reference.canonical(world, config, DS)
    found = parts(manifest, "events").sort(c.USER, maintain_order=True)
    names = (c.USER, c.ITEM, c.EVENT_TYPE, c.TIMESTAMP, c.EVENT_ID)
    assert list(found.select(names).iter_rows()) == [tuple(getattr(e, name) for name in names) for e in expected]
    report = json.loads(storage.read_bytes(manifest.uri("report.json")))
    pinned = DS - timedelta(days=config.time.window_days + config.time.late_days - 1)
    delivered = [event for event in world.events if event.arrival >= pinned]
    good = [reference.is_good(event, config) for event in delivered]
    assert report["read"] == len(delivered)
    assert report["quarantined"] == len(good) - sum(good) == sum(report["reasons"].values())
    assert report["kept"] == len(expected) == sum(day["kept"] for day in report["by_date"].values())
    quarantine = parts(manifest, "quarantine")
    assert quarantine.height == report["quarantined"]


def _assert_items(manifest: Manifest, world: World, config: Settings) -> None:
    found = pl.read_parquet(manifest.uri("items.parquet"))
    expected = reference.item_states(world, config, DS)
    assert found.select(expected[0].keys()).to_dicts() == expected


def _assert_users(manifest: Manifest, world: World, config: Settings) -> None:
    found = parts(manifest, "users")
    expected = reference.user_states(world, config, DS)
    assert found[c.USER].sort().to_list() == list(expected)
    for row in found.iter_rows(named=True):
        state = expected[row[c.USER]]
        price = state.pop(c.USUAL_PRICE)
        assert row[c.USUAL_PRICE] == (None if price is None else pytest.approx(price, rel=1e-6))
        assert {name: row[name] for name in state} == state
    learners = set(reference.sequences(world, config, DS))
    numbered = found.filter(pl.col(c.USER_INDEX) > 0)
    assert set(numbered[c.USER]) == learners
    assert numbered[c.USER_INDEX].to_list() == list(range(1, len(learners) + 1))


STATES = ("items.parquet", "vocabulary.parquet")


def bytes_of(manifest: Manifest) -> dict[str, bytes]:
    """Every file of the artefact by name."""
    files = storage.list_files(manifest.folder)
    return {file.name: storage.read_bytes(file.uri) for file in files}


@given(past=WORLDS, futures=st.tuples(events(), events()), cutoff=st.integers(1, 3))
@QUICK
def test_nothing_after_the_cutoff_changes_states_counts_vocabulary_or_sequences(
    past: World, futures: tuple[list[Event], list[Event]], cutoff: int
) -> None:
    kept = [event for event in past.events if event.timestamp < moment(cutoff + 1)]
    seen = []
    for future in futures:
        # Ids of their own: a repeated id is a repeated event, whenever it is said to have happened.
        later = [
            replace(event, event_id=event.event_id and f"later {event.event_id}")
            for event in future
            if event.timestamp >= moment(cutoff + 1)
        ]
        lag = DAYS - 1 - cutoff
        world = World([*kept, *later], past.items, past.users)
        manifest, _, _keep = ran(world, time__train_lag_days=lag, time__history_lag_days=lag)
        files = bytes_of(manifest)
        seen.append({name: files[name] for name in files if name in STATES or name.startswith(("users", "sequences"))})
    assert seen[0] == seen[1]


@given(WORLDS)
@QUICK
def test_csv_and_parquet_give_the_same_artefact(world: World) -> None:
    parquet, _, _keep = ran(world, "parquet")
    csv, _, _keep_too = ran(world, "csv")
    told = ("quarantine", "report.json")  # they name files
    assert {name: content for name, content in bytes_of(csv).items() if not name.startswith(told)} == {
        name: content for name, content in bytes_of(parquet).items() if not name.startswith(told)
    }


@given(WORLDS)
@QUICK
def test_shards_hold_the_same_users_with_the_same_content(world: World) -> None:
    found = []
    for shards in (1, 5):
        manifest, _, _keep = ran(world, beam__shards=shards)
        assert {len(manifest.shards(name)) for name in ("users", "events", "sequences")} == {shards}
        users = parts(manifest, "users").sort(c.USER)
        numbered = users.select(pl.col(c.USER_INDEX) > 0).to_series().to_list()
        canonical = parts(manifest, "events").sort(c.USER, maintain_order=True)
        found.append((users.drop(c.USER_INDEX).to_dicts(), numbered, canonical.to_dicts()))
    assert found[0] == found[1]


@pytest.fixture
def world() -> World:
    return World(
        [
            Event("ann", "a", "view", moment(0, 5), 0, "1", "FR"),
            Event("ann", "b", "buy", moment(0, 9), 0, "2"),
            Event("bob", "b", "view", moment(1, 1), 1, "3"),
            Event("bob", None, "search", moment(1, 2), 1),
            Event("ann", "a", "view", moment(0, 5), 2, "1", "FR"),
            Event("cy", "c", "buy", moment(0, 7), 4),
            Event(None, "c", "buy", moment(4, 7), 4),
        ]
    )


@pytest.mark.usefixtures("through_beam")
def test_beam_and_the_same_work_in_a_loop_write_the_same_bytes(
    world: World, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(folder, world, DAYS)
    config = settings(folder)
    first = bytes_of(extract(folder, config, DS, "first"))
    second = bytes_of(extract(folder, config, DS, "second"))
    monkeypatch.setattr(stage, "run_pass", without_beam)
    third = bytes_of(extract(folder, config, DS, "third"))
    assert first == second == third


def test_scratch_is_gone_and_the_report_tells_all(world: World, folder: Path) -> None:
    deliver(folder, world, DAYS)
    manifest = extract(folder, settings(folder), DS)
    assert not list(Path(manifest.folder).rglob("_scratch"))
    report = json.loads(storage.read_bytes(manifest.uri("report.json")))
    counted = [report[name] for name in ("read", "kept", "quarantined", "duplicates", "late")]
    assert counted == [7, 5, 1, 1, 2]
    assert report["reasons"] == {"user_id is missing": 1}
    assert report["by_date"][str(FIRST + timedelta(days=4))] == {
        "read": 2,
        "quarantined": 1,
        "late": 1,
        "before_window": 0,
        "duplicates": 0,
        "kept": 1,
    }
    bad = parts(manifest, "quarantine").row(0, named=True)
    assert bad[c.FILE].endswith("date=2026-03-05/rows.parquet")
    assert bad[c.LINE] == 2
    assert json.loads(bad[c.ROW])["item_id"] == "c"


def test_the_first_moment_after_the_arrival_day_is_too_late(folder: Path) -> None:
    last, after = (Event("ann", "a", "view", moment(1) - timedelta(microseconds=gap), 0) for gap in (1, 0))
    deliver(folder, World([last, after]), DAYS)
    manifest = extract(folder, settings(folder), DS)
    assert parts(manifest, "events")[c.TIMESTAMP].to_list() == [last.timestamp]
    assert parts(manifest, "quarantine")[c.REASON].to_list() == ["timestamp is after the day the event arrived"]


def test_too_many_bad_rows_fail_with_reasons_and_examples(world: World, folder: Path) -> None:
    deliver(folder, world, DAYS)
    told = r"(?s)1 of 7 rows \(14\.3%\).*limit = 10\.0%.*1 x user_id is missing; e\.g\. .*parquet:2"
    with pytest.raises(QuarantineLimitError, match=told):
        extract(folder, settings(folder, extract__quarantine_limit=0.1), DS)


@pytest.mark.usefixtures("through_beam")
def test_a_corrupt_file_is_named_through_beam(world: World, folder: Path) -> None:
    deliver(folder, world, DAYS)
    broken = folder / "events" / f"date={FIRST}" / "rows.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(CorruptFileError, match=r"date=2026-03-01/rows\.parquet can't be read as parquet.*again, whole"):
        extract(folder, settings(folder), DS)


def test_a_missing_column_is_named(world: World, folder: Path) -> None:
    deliver(folder, world, DAYS)
    path = folder / "events" / f"date={FIRST}" / "rows.parquet"
    write(pl.read_parquet(path).drop("timestamp"), path)
    with pytest.raises(ContractError, match=r"rows\.parquet has no column 'timestamp', which \[events\] needs"):
        extract(folder, settings(folder), DS)


def test_an_undated_snapshot_contributes_static_columns_alone(folder: Path) -> None:
    world = World(
        [Event("ann", "c", "view", moment(0), 0)],
        [{"item_id": "a", "title": "Cup", "price": 3.0, "colour": "red", "available": False}],
    )
    deliver(folder, world, DAYS)
    (folder / "items" / f"{FIRST}.parquet").rename(folder / "items" / "all.parquet")
    manifest = extract(folder, settings(folder), DS)
    items = pl.read_parquet(manifest.uri("items.parquet")).select("item_id", "title", "price", "colour", "available")
    assert items.rows() == [("c", None, None, None, True), ("a", "Cup", None, None, True)]
    assert manifest.notes == (
        "items: the snapshot is undated, so only its static columns count (title) and who is listed",
    )


def test_the_newest_snapshot_not_after_the_date_counts(folder: Path) -> None:
    world = World([Event("ann", "gone", "view", moment(0), 0)], [{"item_id": "old", "price": 1.0}])
    deliver(folder, world, DAYS)
    for day, price in ((3, 2.0), (4, 3.0)):
        rows = pl.DataFrame(
            {"item_id": ["new", "new"], "price": [9.0, price], "available": [None, True], "colour": [None, "red"]}
        )
        write(rows, folder / "items" / f"{FIRST + timedelta(days=day)}.parquet")
    config = settings(folder)
    manifest = extract(folder, config, FIRST + timedelta(days=3))
    items = pl.read_parquet(manifest.uri("items.parquet")).select("item_id", "price", "available")
    assert items.rows() == [("gone", None, False), ("new", 2.0, True)]


def test_an_item_that_has_gone_keeps_the_last_title_it_had_and_nothing_else(folder: Path) -> None:
    seen = [Event("ann", name, "view", moment(0), 0) for name in ("gone", "short", "unknown", "here", "nameless")]
    deliver(folder, World(seen, [{"item_id": "unlisted", "title": "X"}]), DAYS)
    of_days: dict[int, list[dict[str, Any]]] = {
        0: [
            {"item_id": "gone", "title": "Old Cup"},
            {"item_id": "short", "title": "Mug"},
            {"item_id": "nameless", "title": "Y"},
        ],
        1: [
            {"item_id": "gone", "title": "Cup"},
            {"item_id": "gone", "title": "Cup again"},
            {"item_id": None, "title": "Z"},
        ],
        2: [{"item_id": "gone", "title": "never read: 3 days before"}],
        3: [{"item_id": "gone", "title": None, "price": 4.0}, {"item_id": "here", "title": "Then"}],
        5: [{"item_id": "here", "title": "Now", "price": 1.0}, {"item_id": "nameless", "title": None}],
    }
    for day, rows in of_days.items():
        snapshot = pl.DataFrame(rows, {"item_id": pl.String, "title": pl.String, "price": pl.Float64})
        declared = snapshot.with_columns(pl.lit(None, pl.String).alias("colour"))
        write(snapshot if day < 5 else declared, folder / "items" / f"{FIRST + timedelta(days=day)}.parquet")
    manifest = extract(folder, settings(folder), DS)
    items = pl.read_parquet(manifest.uri("items.parquet")).sort("item_id")
    assert items.select("item_id", "title", "price", "available").rows() == [
        ("gone", "Cup again", None, False),
        ("here", "Now", 1.0, True),
        ("nameless", None, None, True),
        ("short", None, None, False),
        ("unknown", None, None, False),
    ]
    assert items["title_tokens"].list.len().to_list() == [2, 1, 0, 0, 0]


def test_text_vector_and_number_columns_of_items_pass_through(folder: Path) -> None:
    deliver(folder, World([Event("ann", "a", "view", moment(0), 0)]), DAYS)
    row = {"item_id": "a", "colour": "red", "size": 4, "care": "wash cold", "image": [0.5, 1.5]}
    rows = pl.DataFrame([row])
    write(rows, folder / "items" / f"{FIRST}.parquet")
    declared = {"items__numeric": ["size"], "items__text": ["care"], "items__vectors": ["image"]}
    manifest = extract(folder, settings(folder, **declared), DS)
    items = pl.read_parquet(manifest.uri("items.parquet")).select("size", "care", "image")
    assert items.schema == {"size": pl.Float32, "care": pl.String, "image": pl.List(pl.Float32)}
    assert items.row(0) == (4.0, "wash cold", [0.5, 1.5])


def test_vectors_of_users_pass_through_to_states(folder: Path) -> None:
    deliver(folder, World([Event("ann", "a", "view", moment(0), 0)]), DAYS)
    faces = pl.Series("face", [[0.5, 1.5], None], dtype=pl.List(pl.Float64))
    write(pl.DataFrame({"user_id": ["ann", "bob"]}).with_columns(faces), folder / "users" / f"{FIRST}.parquet")
    manifest = extract(folder, settings(folder, users__vectors=["face"], users__numeric=[]), DS)
    users = parts(manifest, "users").sort(c.USER)
    assert users.schema["face"] == pl.List(pl.Float32)
    assert users["face"].to_list() == [[0.5, 1.5], None]
    assert all(check.passed for check in manifest.checks)


def test_every_text_has_the_tokens_of_its_known_words(folder: Path) -> None:
    deliver(folder, World([Event("ann", "a", "view", moment(0), 0)]), DAYS)
    items = [
        {"item_id": "a", "title": "Oak Chair", "colour": None, "description": "Chair of oak, of oak", "care": "Wax"},
        {"item_id": "b", "title": None, "colour": None, "description": "of ash", "care": None},
    ]
    users = [
        {"user_id": "ann", "age": 1, "interests": "oak and Ann", "bio": "wax sailing"},
        {"user_id": "bob", "age": 1, "interests": "sailing", "bio": None},
        {"user_id": "cy", "age": 1, "interests": None, "bio": "diving"},
    ]
    write(pl.DataFrame(items), folder / "items" / f"{FIRST}.parquet")
    write(pl.DataFrame(users), folder / "users" / f"{FIRST}.parquet")
    declared = {"items__text": ["care"], "users__text": ["bio"], "extract__token_users": 2, "extract__text_tokens": 4}
    manifest = extract(folder, settings(folder, **declared), DS)
    vocabulary = pl.read_parquet(manifest.uri("vocabulary.parquet")).filter(pl.col("column") == "token")
    # Texts of items that have the word; of users, words that two have: neither Ann's name nor who dives.
    counts = dict(vocabulary.select("value", "count").iter_rows())
    assert counts == {"oak": 2, "chair": 2, "of": 2, "ash": 1, "wax": 1, "sailing": 2}
    word = dict(vocabulary.select("index", "value").iter_rows())

    def words(frame: pl.DataFrame, column: str) -> list[list[str]]:
        return [[word[token] for token in tokens] for tokens in frame[column].to_list()]

    states = pl.read_parquet(manifest.uri("items.parquet"))
    assert words(states, "title_tokens") == [["oak", "chair"], []]
    assert words(states, "description_tokens") == [["chair", "of", "oak", "of"], ["of", "ash"]]
    assert words(states, "care_tokens") == [["wax"], []]
    known = parts(manifest, "users").sort("user_id")
    assert words(known, "interests_tokens") == [["oak"], ["sailing"], []]
    assert words(known, "bio_tokens") == [["wax", "sailing"], [], []]


def test_without_snapshots_events_alone_will_do(folder: Path) -> None:
    deliver(folder, World([Event("ann", "a", "view", moment(0), 0, None, "FR")]), DAYS)
    config = settings(folder).model_copy(update={"items": None, "users": None})
    manifest = extract(folder, config, DS)
    assert pl.read_parquet(manifest.uri("items.parquet")).select("item_id", "available").rows() == [("a", True)]
    assert parts(manifest, "users").select("user_id", "country", "n_events").rows() == [("ann", "FR", 1)]
