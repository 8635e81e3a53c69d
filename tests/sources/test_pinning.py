from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from recjobs.errors import MissingDateError, MissingInputError, NotArrivedError
from recjobs.manifest import Sources
from recjobs.settings import Settings, load_settings
from recjobs.sources.pinning import event_days, pin_sources

MONDAY = date(2026, 3, 2)
CONFIG = """
dataset = "pins"
root = "{folder}"

[time]
window_days = 5
late_days = 2

[events]
path = "{folder}/events"

[events.types.view]
task = "click"

[items]
path = "{folder}/items"
"""


def day(offset: int) -> date:
    return MONDAY + timedelta(days=offset)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pins.toml").write_text(CONFIG.format(folder=tmp_path))
    put(tmp_path / "items" / f"{day(-30)}.parquet")
    return tmp_path


def put(path: Path, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def deliver(folder: Path, *offsets: int) -> None:
    for offset in offsets:
        put(folder / "events" / f"date={day(offset)}" / "part.parquet", str(offset))


def settings(folder: Path, **overrides: Any) -> Settings:
    return load_settings(str(folder / "pins.toml"), {key.replace("__", "."): value for key, value in overrides.items()})


def pinned_days(sources: Sources) -> list[date | None]:
    return [file.day for file in sources.events]


def test_the_window_is_pinned_and_nothing_later(folder: Path) -> None:
    deliver(folder, *range(20))
    sources = pin_sources(settings(folder), day(12))
    assert pinned_days(sources) == [day(offset) for offset in range(6, 13)]
    assert sources.events[0].uri == str(folder / "events" / f"date={day(6)}" / "part.parquet")
    assert len({file.digest for file in sources.events}) == 7


def test_titles_are_pinned_from_older_snapshots_ever_farther_apart(folder: Path) -> None:
    deliver(folder, *range(20))
    for offset in (19, 18, 17, 16, 10, 3, 2):
        put(folder / "items" / f"{day(offset)}.parquet", str(offset))
    wide = pin_sources(settings(folder, time__window_days=15), day(19))
    assert [file.day for file in wide.items] == [day(19)]
    # 1, 2, 4, 8 days ago: the newest of or before; 16 lies outside the window.
    assert [file.day for file in wide.titles] == [day(18), day(17), day(10)]
    assert [file.day for file in pin_sources(settings(folder, time__window_days=20), day(19)).titles][-1] == day(3)
    assert pin_sources(settings(folder), day(18)).titles[0].day == day(17), "nothing of tonight's or later"
    for offset in (19, 18, 17, 16, 10, 3, 2, -30):
        (folder / "items" / f"{day(offset)}.parquet").unlink()
    put(folder / "items" / "all.parquet")
    assert pin_sources(settings(folder), day(19)).titles == ()


def test_a_digest_follows_the_content(folder: Path) -> None:
    deliver(folder, 0, 1)
    before = pin_sources(settings(folder), day(1))
    put(folder / "events" / f"date={day(1)}" / "part.parquet", "changed")
    after = pin_sources(settings(folder), day(1))
    assert before.events[0] == after.events[0]
    assert before.events[1].digest != after.events[1].digest


def test_a_day_after_the_newest_has_not_arrived(folder: Path) -> None:
    deliver(folder, 0, 1, 2)
    message = r"events of 2026-03-05, 2026-03-06 have not arrived at .*/events; newest is 2026-03-04"
    with pytest.raises(NotArrivedError, match=message) as told:
        pin_sources(settings(folder), day(4))
    assert told.value.details["missing"] == ["2026-03-05", "2026-03-06"]
    assert "closed_dates" in str(told.value)


def test_a_day_between_others_is_missing(folder: Path) -> None:
    deliver(folder, 0, 1, 3, 4)
    with pytest.raises(MissingDateError, match=r"events of 2026-03-04 are missing at .*/events.*closed_dates"):
        pin_sources(settings(folder), day(4))


def test_the_date_itself_is_missing_when_later_ones_are_there(folder: Path) -> None:
    deliver(folder, 0, 1, 3)
    with pytest.raises(MissingDateError, match="events of 2026-03-04 are missing"):
        pin_sources(settings(folder), day(2))


def test_a_missing_day_outside_the_window_does_not_matter(folder: Path) -> None:
    deliver(folder, 0, *range(2, 12))
    assert pinned_days(pin_sources(settings(folder), day(11)))[0] == day(5)


def test_days_before_the_first_partition_are_no_fault(folder: Path) -> None:
    deliver(folder, 3, 4)
    assert pinned_days(pin_sources(settings(folder), day(4))) == [day(3), day(4)]


def test_declared_days_are_no_fault_and_are_read_when_they_have_events(folder: Path) -> None:
    deliver(folder, 0, 1, 3, 4, 7)  # Monday is 0; without 2 (Wednesday), 5 and 6 (weekend)
    closed = settings(folder, events__closed_dates=[str(day(2))], events__closed_weekdays=["sat", "sun", "fri"])
    assert pinned_days(pin_sources(closed, day(6))) == [day(0), day(1), day(3), day(4)]
    assert pinned_days(pin_sources(closed, day(7)))[-1] == day(7)


def test_a_date_before_all_events(folder: Path) -> None:
    deliver(folder, 3)
    with pytest.raises(MissingDateError, match=r"no events of 2026-03-04 or before; the oldest are of 2026-03-05"):
        pin_sources(settings(folder), day(2))


def test_the_newest_snapshot_not_after_the_date_is_pinned_whole(folder: Path) -> None:
    deliver(folder, 0, 1, 2)
    for name in ("a", "b"):
        put(folder / "items" / f"date={day(1)}" / f"{name}.parquet")
    put(folder / "items" / f"{day(3)}.parquet")
    put(folder / "items" / "undated.parquet")
    pinned = pin_sources(settings(folder), day(2)).items
    assert [(file.day, Path(file.uri).name) for file in pinned] == [(day(1), "a.parquet"), (day(1), "b.parquet")]
    assert pin_sources(settings(folder), day(1)).items == pinned
    assert [file.day for file in pin_sources(settings(folder), day(0)).items] == [day(-30)]


def test_undated_files_serve_any_date(folder: Path) -> None:
    deliver(folder, 0)
    (folder / "items" / f"{day(-30)}.parquet").rename(folder / "items" / "all.parquet")
    assert [(file.day, Path(file.uri).name) for file in pin_sources(settings(folder), day(0)).items] == [
        (None, "all.parquet")
    ]


def test_a_date_before_all_snapshots(folder: Path) -> None:
    deliver(folder, 0)
    (folder / "items" / f"{day(-30)}.parquet").rename(folder / "items" / f"{day(1)}.parquet")
    with pytest.raises(
        MissingDateError, match="no items snapshot of 2026-03-02 or before; the oldest is of 2026-03-03"
    ):
        pin_sources(settings(folder), day(0))


def test_a_missing_folder(folder: Path) -> None:
    with pytest.raises(MissingInputError, match="events: no such folder"):
        pin_sources(settings(folder), day(0))


def test_events_must_have_a_date(folder: Path) -> None:
    put(folder / "events" / "all.parquet")
    with pytest.raises(MissingInputError, match=r"no event file has a date, the first one is 'all\.parquet'"):
        event_days(settings(folder))


def test_event_days_are_told(folder: Path) -> None:
    deliver(folder, 4, 0)
    assert event_days(settings(folder)) == [day(0), day(4)]
