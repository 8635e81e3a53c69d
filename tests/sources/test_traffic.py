"""A played day: good lists bring clicks, places matter, and a day is played once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recjobs import storage
from recjobs.errors import SettingsError
from recjobs.settings import Settings, load_settings
from recjobs.sources import traffic
from recjobs.sources.marketplace.catalogue import catalogue_of
from recjobs.sources.marketplace.generation import generate
from recjobs.sources.marketplace.population import population_of
from recjobs.sources.marketplace.preference import true_preference
from recjobs.sources.marketplace.world import day_number
from recjobs.sources.traffic import TrafficReport, play_day

DAY = date(2026, 11, 22)
Lists = list[tuple[str, list[str]]]


def settings_of(folder: Path) -> Settings:
    paths = {f"{kind}.path": str(folder / kind) for kind in ("events", "items", "users")}
    small = {"marketplace.users": 1200, "marketplace.items": 400, "marketplace.events_per_user_day": 4.0}
    return load_settings("marketplace", {**paths, **small})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


def lists_by(settings: Settings, personal: bool) -> Lists:
    """The best 30 items of each user by the truth, or of everybody by what all like together."""
    config = settings.marketplace
    assert config is not None
    users = population_of(config, day_number(DAY)).ids().to_pylist()
    items = np.array(catalogue_of(config, day_number(DAY)).ids().to_pylist())
    truth = true_preference(config, users, items.tolist(), DAY)
    scores = truth if personal else np.broadcast_to(truth.sum(axis=0), truth.shape)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :30]
    return [(user, items[row].tolist()) for user, row in zip(users, best, strict=True)]


def day_of(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "events" / f"date={DAY}" / "part-00000.parquet")


def test_visitors_act_on_their_lists(tmp_path: Path, settings: Settings) -> None:
    report = play_day(settings, DAY, lists_by(settings, personal=True))
    home = day_of(tmp_path).filter(pl.col("surface") == "home", pl.col("event_type") != "hover")
    clean = home.drop_nulls(["user_id", "item_id", "timestamp"]).unique("event_id")
    views = clean.filter(pl.col("event_type") == "view", pl.col("timestamp").dt.year() < 2100)
    assert report.visitors_with_list == report.visitors > 100
    assert report.shown == 20 * report.visitors
    assert report.clicks == pytest.approx(views.height, abs=report.dirty["event repeated"] * 6)
    assert 0 < report.purchases < report.carts < report.clicks


def test_better_lists_bring_more_clicks(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "personal")
    personal = play_day(settings, DAY, lists_by(settings, personal=True))
    popular = play_day(settings_of(tmp_path / "popular"), DAY, lists_by(settings, personal=False))
    assert personal.clicks > 2 * popular.clicks
    assert personal.purchases > popular.purchases


def test_a_day_is_played_once(tmp_path: Path, settings: Settings) -> None:
    play_day(settings, DAY, lists_by(settings, personal=True))
    before = {file.name: storage.digest(file.uri) for file in storage.list_files(str(tmp_path))}

    def never() -> Iterator[tuple[str, list[str]]]:
        raise AssertionError("the lists of a played day are not read")
        yield

    again = play_day(settings, DAY, never())
    assert not again.played
    assert {file.name: storage.digest(file.uri) for file in storage.list_files(str(tmp_path))} == before


def test_of_two_players_one_wins(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic.storage, "exists", lambda _: False)
    assert play_day(settings, DAY, lists_by(settings, personal=True)).played
    before = day_of(tmp_path)
    assert not play_day(settings, DAY, []).played
    assert day_of(tmp_path).equals(before)


def test_nothing_half_played_is_left(tmp_path: Path, settings: Settings) -> None:
    def breaks() -> Iterator[tuple[str, list[str]]]:
        yield lists_by(settings, personal=True)[0]
        raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        play_day(settings, DAY, breaks())
    assert storage.list_files(str(tmp_path)) == []


def test_the_same_lists_in_any_order_give_the_same_events(tmp_path: Path) -> None:
    one, two = settings_of(tmp_path / "one"), settings_of(tmp_path / "two")
    lists = lists_by(one, personal=True)
    play_day(one, DAY, lists)
    play_day(two, DAY, lists[::-1])
    assert day_of(tmp_path / "one").equals(day_of(tmp_path / "two"))


def test_without_lists_it_is_the_generated_day(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "played")
    assert settings.marketplace is not None
    play_day(settings, DAY, [])
    generate(settings.marketplace.model_copy(update={"days": 1}), str(tmp_path / "generated"), DAY)
    played, generated = (
        {file.name: storage.digest(file.uri) for file in storage.list_files(str(tmp_path / name))}
        for name in ("played", "generated")
    )
    assert played == generated
    assert len(played) == 3


def test_lists_add_to_what_visitors_do_on_their_own(tmp_path: Path) -> None:
    settings, alone = settings_of(tmp_path / "lists"), settings_of(tmp_path / "alone")
    with_lists = play_day(settings, DAY, lists_by(settings, personal=True))
    without = play_day(alone, DAY, [])
    assert with_lists.by_type["view"] == without.by_type["view"] + with_lists.clicks
    assert with_lists.by_type["purchase"] == without.by_type["purchase"] + with_lists.purchases


def test_what_is_gone_and_who_is_unknown_is_passed_over(settings: Settings) -> None:
    lists = [(user, ["i1", "no item", *items[:3]]) for user, items in lists_by(settings, personal=True)]
    report = play_day(settings, DAY, [("nobody", ["i1"]), *lists, ("u1", ["i1"])])
    assert report.gone == 2 * report.visitors
    assert report.shown == 3 * report.visitors


def test_the_first_place_is_clicked_most() -> None:
    chances = traffic.click_chances(np.full(20, 0.05), np.arange(20))
    assert (np.diff(chances) < 0).all()
    assert chances[0] < 1
    better = traffic.click_chances(np.array([0.0, 0.01, 0.1]), np.zeros(3, np.int64))
    assert better[0] == 0 < better[1] < better[2]


def test_only_a_generated_marketplace_can_be_played() -> None:
    with pytest.raises(SettingsError, match="'online-retail' is no generated marketplace"):
        play_day(load_settings("online-retail"), DAY, [])


def test_the_report_survives_json(settings: Settings) -> None:
    report = play_day(settings, DAY, [])
    assert TrafficReport.model_validate_json(report.model_dump_json()) == report
