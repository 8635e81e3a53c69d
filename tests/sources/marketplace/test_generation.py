"""Generated days: they stand alone, they keep the contract, and they look like a marketplace."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recjobs import storage
from recjobs.settings import load_settings
from recjobs.sources.marketplace import catalogue, choices, generation, population, visits
from recjobs.sources.marketplace.config import MarketplaceConfig
from recjobs.sources.marketplace.dirt import FAULTS
from recjobs.sources.marketplace.generation import GenerationReport, generate
from recjobs.sources.marketplace.world import day_number

UNTIL = date(2026, 11, 21)
SMALL = MarketplaceConfig(users=500, items=250, days=4, dirty_share=0.02)
WEEKS = MarketplaceConfig(users=1_500, items=500, days=28, dirty_share=0.0, late_share=0.02)


def digests(folder: Path) -> dict[str, str]:
    return {file.name: storage.digest(file.uri) for file in storage.list_files(str(folder))}


def forget_everything() -> None:
    for cached in (
        catalogue.catalogue_of,
        choices.choices_of,
        population.present,
        population.population_of,
        population._block,
        visits._slots,
        visits.pool_of,
    ):
        cached.cache_clear()


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weeks")
    generate(WEEKS, str(folder), UNTIL)
    return folder


def events(folder: Path) -> pl.DataFrame:
    read = pl.read_parquet(str(folder / "events" / "*" / "*.parquet"), hive_partitioning=True)
    return read.rename({"date": "arrival"}).with_columns(day=pl.col("timestamp").dt.date())


def snapshots(folder: Path, kind: str) -> pl.DataFrame:
    return pl.read_parquet(str(folder / kind / "*" / "*.parquet"), hive_partitioning=True)


# -- days stand alone


def test_a_later_end_changes_no_file_of_the_days_before(tmp_path: Path) -> None:
    generate(SMALL, str(tmp_path / "until"), UNTIL)
    forget_everything()
    generate(SMALL, str(tmp_path / "later"), UNTIL + timedelta(days=1))
    earlier, later = digests(tmp_path / "until"), digests(tmp_path / "later")
    common = earlier.keys() & later.keys()
    assert len(common) == 3 * 3
    assert {name: earlier[name] for name in common} == {name: later[name] for name in common}


def test_one_day_alone_is_the_same_as_in_a_row(tmp_path: Path) -> None:
    generate(SMALL, str(tmp_path / "row"), UNTIL)
    forget_everything()
    generate(SMALL.model_copy(update={"days": 1}), str(tmp_path / "alone"), UNTIL)
    row = digests(tmp_path / "row")
    assert digests(tmp_path / "alone") == {name: row[name] for name in row if str(UNTIL) in name}


def test_the_seed_changes_everything(tmp_path: Path) -> None:
    one_day = SMALL.model_copy(update={"days": 1})
    generate(one_day, str(tmp_path / "a"), UNTIL)
    generate(one_day.model_copy(update={"seed": 18}), str(tmp_path / "b"), UNTIL)
    a, b = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert a.keys() == b.keys()
    assert all(a[name] != b[name] for name in a)


def test_a_day_that_is_there_is_written_anew_or_kept(tmp_path: Path) -> None:
    generate(SMALL, str(tmp_path), UNTIL)
    before = digests(tmp_path)
    day = tmp_path / "events" / f"date={UNTIL}" / "part-00000.parquet"
    day.write_bytes(b"played")
    kept = generate(SMALL, str(tmp_path), UNTIL + timedelta(days=1), keep=True)
    assert (kept.days_written, kept.days_kept) == (1, 3)
    assert day.read_bytes() == b"played"
    generate(SMALL, str(tmp_path), UNTIL)
    assert before.items() <= digests(tmp_path).items()


# -- the contract


def test_the_report_counts_what_is_in_the_files(tmp_path: Path) -> None:
    report = generate(SMALL, str(tmp_path), UNTIL)
    rows = events(tmp_path)
    assert rows.height == report.events + sum(report.dirty.values())
    assert report.events == sum(report.by_type.values())
    assert (report.first, report.last, report.days_written) == (UNTIL - timedelta(days=3), UNTIL, 4)
    assert GenerationReport.model_validate_json(report.model_dump_json()) == report


def test_every_fault_is_there_as_often_as_reported_and_rarely(tmp_path: Path) -> None:
    report = generate(SMALL, str(tmp_path), UNTIL)
    rows = events(tmp_path)
    copies = rows.height - rows.unique([name for name in rows.columns if name != "arrival"]).height
    assert report.dirty == {
        "no user": rows["user_id"].null_count(),
        "no item": rows["item_id"].null_count(),
        "unknown event type": rows.filter(~pl.col("event_type").is_in(["view", "cart", "purchase"])).height,
        "no time": rows["timestamp"].null_count(),
        "time in the far future": rows.filter(pl.col("timestamp").dt.year() == 2100).height,
        "event repeated": copies,
    }
    assert set(report.dirty) == set(FAULTS)
    assert min(report.dirty.values()) > 0
    assert sum(report.dirty.values()) == pytest.approx(0.02 * report.events, rel=0.3)


def test_the_shipped_dirt_is_below_the_shipped_quarantine_limit() -> None:
    settings = load_settings("marketplace")
    assert settings.marketplace is not None
    assert 0 < settings.marketplace.dirty_share < settings.extract.quarantine_limit / 2


def test_good_events_are_complete_and_their_ids_are_their_own(weeks: Path) -> None:
    rows = events(weeks)
    assert rows.select(pl.all().exclude("value", "quantity")).null_count().sum_horizontal().item() == 0
    assert rows["event_id"].n_unique() == rows.height
    assert rows["event_type"].unique().sort().to_list() == ["cart", "purchase", "view"]
    assert rows.filter(pl.col("event_type") == "purchase")["value"].null_count() == 0


def test_events_happen_on_their_day_or_arrive_one_day_late(weeks: Path) -> None:
    delay = (events(weeks)["arrival"] - events(weeks)["day"]).dt.total_days()
    assert delay.unique().sort().to_list() == [0, 1]
    assert delay.mean() == pytest.approx(WEEKS.late_share, rel=0.3)


def test_everybody_and_everything_is_in_the_snapshot_of_the_day(weeks: Path) -> None:
    rows = events(weeks)
    for kind, key, since in (("users", "user_id", "signup_at"), ("items", "item_id", "created_at")):
        known = snapshots(weeks, kind).rename({"date": "arrival"})
        assert known.group_by("arrival").agg(pl.col(key).is_duplicated().any())[key].any() is False
        joined = rows.join(known, on=["arrival", key], how="left")
        assert joined[since].null_count() == 0
        assert (joined[since] <= joined["timestamp"]).all()


def test_nothing_out_of_stock_is_looked_at(weeks: Path) -> None:
    stock = snapshots(weeks, "items").rename({"date": "arrival"})
    assert 0.01 < 1 - stock["available"].mean() < 0.06
    assert events(weeks).join(stock, on=["arrival", "item_id"])["available"].all()


# -- a marketplace


def test_it_has_about_the_size_it_is_told(weeks: Path) -> None:
    assert snapshots(weeks, "users").group_by("date").len()["len"].mean() == pytest.approx(1_500, rel=0.05)
    assert snapshots(weeks, "items").group_by("date").len()["len"].mean() == pytest.approx(500, rel=0.05)
    assert events(weeks).height == pytest.approx(2.8 * 1_500 * 28, rel=0.25)


def test_users_and_items_come_and_go_every_day(weeks: Path) -> None:
    for kind, since in (("users", "signup_at"), ("items", "created_at")):
        days = snapshots(weeks, kind).sort("date").group_by("date", maintain_order=True)
        new = days.agg((pl.col(since).dt.date() == pl.col("date")).sum())[since]
        assert new.min() >= 1, kind
        first, last = (set(part[f"{kind[:-1]}_id"]) for _, part in list(days)[:: WEEKS.days - 1])
        assert first - last, kind


def test_popularity_has_a_long_tail(weeks: Path) -> None:
    counts = events(weeks)["item_id"].value_counts()["count"].sort(descending=True)
    tenth = counts.head(len(counts) // 10).sum() / counts.sum()
    assert 0.25 < tenth < 0.6


def test_the_week_has_a_rhythm(weeks: Path) -> None:
    by_day = events(weeks).group_by(pl.col("day").dt.weekday()).len().sort("day")["len"].to_list()
    assert by_day[6] > 1.2 * by_day[1]


def test_a_purchase_follows_a_cart_follows_a_view(weeks: Path) -> None:
    rows = events(weeks).sort("timestamp")
    first = rows.group_by("user_id", "item_id", "session_id", "event_type").agg(pl.col("timestamp").min())
    steps = first.pivot("event_type", index=["user_id", "item_id", "session_id"], values="timestamp")
    assert steps["view"].null_count() == 0
    carted = steps.filter(pl.col("cart").is_not_null())
    assert (carted["cart"] >= carted["view"]).all()
    bought = steps.filter(pl.col("purchase").is_not_null())
    assert bought["cart"].null_count() == 0
    assert (bought["purchase"] >= bought["cart"]).all()
    assert 0.1 < len(carted) / len(steps) < 0.35
    assert 0.25 < len(bought) / len(carted) < 0.6


def test_what_is_dear_is_bought_less_often(weeks: Path) -> None:
    rows = events(weeks).join(snapshots(weeks, "items").select("item_id", "category").unique(), on="item_id")
    carts = rows.filter(pl.col("event_type") != "view").with_columns(
        dear=pl.col("value") > pl.col("value").median().over("category")
    )
    share = carts.group_by("dear").agg((pl.col("event_type") == "purchase").mean()).sort("dear")["event_type"]
    assert share[0] > 1.05 * share[1]


def test_users_come_back_to_what_they_looked_at_yesterday(weeks: Path) -> None:
    seen = events(weeks).filter(pl.col("event_type") == "view").select("user_id", "item_id", "day").unique()
    yesterday = seen.with_columns(pl.col("day") + pl.duration(days=1))
    visited_twice = seen.join(yesterday.select("user_id", "day").unique(), on=["user_id", "day"])
    again = visited_twice.join(yesterday, on=["user_id", "item_id", "day"]).height / visited_twice.height
    assert again > 0.1


def test_countries_have_their_own_tastes(weeks: Path) -> None:
    category = snapshots(weeks, "items").select("item_id", "category").unique()
    counts = events(weeks).join(category, on="item_id").group_by("country", "category").len()
    table = counts.pivot("category", index="country", values="len").fill_null(0).drop("country").to_numpy()
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    assert np.abs(table - expected).sum() / 2 / table.sum() > 0.08


def test_titles_say_style_material_and_noun(weeks: Path) -> None:
    items = snapshots(weeks, "items").filter(pl.col("date") == UNTIL)
    assert items["title"].str.count_matches(" ").min() >= 2
    assert items["category"].str.contains("^[a-z]+/[a-z]+$").all()
    brands_of_word = items.with_columns(word=pl.col("title").str.split(" ").list.first())
    assert brands_of_word.group_by("word").agg(pl.col("brand").n_unique())["brand"].max() <= 3


def test_an_item_keeps_its_nature_and_changes_its_price(weeks: Path) -> None:
    items = snapshots(weeks, "items")
    natures = items.group_by("item_id").agg(
        pl.col("title", "description", "category", "brand", "created_at").n_unique()
    )
    assert natures.drop("item_id").max().row(0) == (1, 1, 1, 1, 1)
    assert items.group_by("item_id").agg(pl.col("price").n_unique())["price"].max() > 2
    assert items["price"].min() > 0


def test_days_have_numbers_and_partitions() -> None:
    assert day_number(date(2000, 1, 2)) == 1
    assert generation.Folders.below("x").events_uri(UNTIL) == f"x/events/date={UNTIL}/part-00000.parquet"
