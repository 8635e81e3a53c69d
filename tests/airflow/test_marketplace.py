"""The demo's marketplace reaches on: generated once, then played day by day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recjobs import storage
from recjobs.airflow import marketplace
from recjobs.errors import MissingInputError, SettingsError
from recjobs.settings import Settings, load_settings
from recjobs.sources import traffic
from recjobs.sources.pinning import event_days

NEWEST = date(2026, 11, 20)
LISTS = [("u1", ["i1", "i2"])]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A small marketplace; every config name means it."""
    paths = {f"{kind}.path": str(tmp_path / kind) for kind in ("events", "items", "users")}
    small = load_settings(
        "marketplace", {**paths, "marketplace.users": 60, "marketplace.items": 200, "marketplace.days": 3}
    )
    monkeypatch.setattr(marketplace, "load_settings", lambda _: small)
    monkeypatch.setattr(marketplace, "_live_lists", lambda _: iter(LISTS))
    return small


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[date, Any]]:
    """The days that were played and the lists they were played on; each day then has events."""
    days: list[tuple[date, Any]] = []

    def play_day(settings: Settings, day: date, lists: Iterable[Any]) -> None:
        days.append((day, list(lists)))
        storage.write_bytes(storage.join(settings.events.path, f"date={day}", "part-00000.parquet"), b"")

    monkeypatch.setattr(traffic, "play_day", play_day)
    return days


def test_where_there_is_none_it_is_generated(settings: Settings, played: list[Any]) -> None:
    assert marketplace.reach(NEWEST, "marketplace") == [date(2026, 11, 18), date(2026, 11, 19), NEWEST]
    assert event_days(settings)[-1] == NEWEST
    assert played == []


@pytest.mark.usefixtures("settings")
def test_missed_days_are_played_in_order_on_the_live_lists(played: list[Any]) -> None:
    marketplace.reach(NEWEST, "marketplace")
    assert marketplace.reach(date(2026, 11, 22), "marketplace") == [date(2026, 11, 21), date(2026, 11, 22)]
    assert played == [(date(2026, 11, 21), LISTS), (date(2026, 11, 22), LISTS)]


@pytest.mark.usefixtures("settings")
def test_a_day_that_has_events_is_never_played(played: list[Any]) -> None:
    marketplace.reach(NEWEST, "marketplace")
    assert marketplace.play_until(NEWEST, "marketplace") == []
    assert marketplace.play_until(date(2026, 11, 19), "marketplace") == []
    assert played == []


@pytest.mark.usefixtures("settings", "played")
def test_nothing_is_played_before_it_was_generated() -> None:
    with pytest.raises(MissingInputError, match="events"):
        marketplace.play_until(NEWEST, "marketplace")


def test_a_real_shop_is_not_played(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = SimpleNamespace(marketplace=None, dataset="shop")
    monkeypatch.setattr(marketplace, "load_settings", lambda _: shop)
    with pytest.raises(SettingsError, match="'shop' has no \\[marketplace\\] section"):
        marketplace.play_until(NEWEST, "shop")
