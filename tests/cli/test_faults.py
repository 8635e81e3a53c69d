"""What goes wrong gives one clear error that names place and fix, an exit code, and leaves live lists alone."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from tests.cli.shop import NEWEST, Shop, open_shop
from tests.database import free_port
from tests.publish.composed import night

DAY = NEWEST - timedelta(days=2)


@pytest.fixture
def shop(tmp_path: Path, database: DatabaseConfig) -> Shop:
    (tmp_path / "published").mkdir()
    night(tmp_path / "published", database).publish()
    return open_shop(tmp_path, database)


def live_lists(database: DatabaseConfig) -> list[tuple[object, ...]]:
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select user_id, surface, items from recs.user_lists join recs.live using (generation) order by 1, 2"
        )
        return cursor.fetchall()


def edit_config(before: str, after: str) -> Callable[[Shop], None]:
    def edit(shop: Shop) -> None:
        text = shop.config.read_text()
        assert before in text
        shop.config.write_text(text.replace(before, after))

    return edit


def rewrite(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Shop], None]:
    def edit(shop: Shop) -> None:
        path = shop.events(DAY)
        change(pl.read_parquet(path)).write_parquet(path)

    return edit


def truncate(shop: Shop) -> None:
    path = shop.events(DAY)
    path.write_bytes(path.read_bytes()[:-40])


FAULTS: dict[str, tuple[Callable[[Shop], None], int, list[str]]] = {
    "a typo in the config": (
        edit_config("label_days", "lable_days"),
        78,
        ["shop.toml", "time.lable_days: unknown key. Did you mean 'label_days'?"],
    ),
    "a missing date": (
        lambda shop: shop.events(DAY).unlink(),
        65,
        ["MissingDateError", str(DAY), "/events", "closed_dates"],
    ),
    "the newest date has not arrived": (
        lambda shop: shop.events(NEWEST).unlink(),
        75,
        ["NotArrivedError", str(NEWEST), "/events", "Wait"],
    ),
    "a corrupt file": (truncate, 65, ["CorruptFileError", f"date={DAY}/part-0.parquet"]),
    "a missing column": (
        rewrite(lambda events: events.drop("item_id")),
        65,
        ["ContractError", "item_id", f"date={DAY}/part-0.parquet", "columns"],
    ),
    "a mistyped column": (
        rewrite(lambda events: events.with_columns(pl.lit(True).alias("timestamp"))),
        65,
        ["ContractError", "timestamp", f"date={DAY}/part-0.parquet"],
    ),
    "too many bad rows": (
        rewrite(lambda events: events.with_columns(pl.lit("buy").alias("event_type"))),
        65,
        ["QuarantineLimitError", "buy", "quarantine_limit"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_live_lists_stay(fault: str, shop: Shop, database: DatabaseConfig) -> None:
    break_it, code, said = FAULTS[fault]
    before = live_lists(database)
    assert len(before) == 40
    break_it(shop)
    ended = shop.recjobs("run", "--date", str(NEWEST), "--stage", "extract")
    assert ended.returncode == code, ended.stderr
    expect_one_error(ended, said)
    assert live_lists(database) == before
    assert not list((shop.folder / "artefacts").rglob("extract/**/manifest.json")), "nothing may look done"
    assert not list((shop.folder / "artefacts").rglob("items.parquet")), "nothing half-written may stay"


@pytest.mark.parametrize("command", [["show", "u1"], ["versions"], ["rollback", "--why", "test"], ["db", "status"]])
def test_a_stopped_database_is_named(command: list[str], shop: Shop) -> None:
    port = free_port()
    config = shop.config.read_text()
    url = next(line for line in config.splitlines() if line.startswith("url"))
    shop.config.write_text(config.replace(url, f'url = "postgresql://app:sesame@127.0.0.1:{port}/app"'))
    ended = shop.recjobs(*command)
    assert ended.returncode == 75, ended.stderr
    expect_one_error(ended, ["DatabaseUnavailableError", f"127.0.0.1:{port}/app"])
    assert "sesame" not in ended.stdout + ended.stderr


def test_a_wrong_date_is_named(shop: Shop) -> None:
    ended = shop.recjobs("run", "--date", "10/01/2026")
    assert ended.returncode == 78
    expect_one_error(ended, ["'10/01/2026' is no date: write it as YYYY-MM-DD."])


def test_doctor_names_each_fault_and_goes_on(shop: Shop) -> None:
    healthy = shop.recjobs("doctor")
    assert healthy.returncode == 0, healthy.stdout
    shop.events(DAY).unlink()
    ill = shop.recjobs("doctor")
    assert ill.returncode == 1
    assert f"FAIL plan: events of {DAY} are missing" in ill.stdout
    assert "ok   storage" in ill.stdout
    assert "ok   database" in ill.stdout


def expect_one_error(ended: subprocess.CompletedProcess[str], said: list[str]) -> None:
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("Error:") == 1
    for words in said:
        assert words in ended.stderr
