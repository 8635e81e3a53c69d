"""`recjobs prune`: says what went, what stays and why, and what a reader holds up."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg2
import pytest

from recjobs.publish.config import DatabaseConfig
from tests.cli.shop import CONFIG, Shop
from tests.publish.composed import night


@pytest.fixture
def shop(tmp_path: Path, database: DatabaseConfig) -> Shop:
    """Seven nights stored, the newest of them live."""
    assert database.url
    found = Shop(tmp_path)
    found.config.write_text(CONFIG.format(folder=tmp_path, url=database.url.get_secret_value()))
    for day in range(1, 8):
        (tmp_path / str(day)).mkdir()
        night(tmp_path / str(day), database, ds=f"2026-01-0{day}", users=("u1", "u2")).publish()
    return found


def said(shop: Shop, *arguments: str) -> list[str]:
    ended = shop.recjobs(*arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_nothing_goes_while_there_are_no_more_than_settings_keep(shop: Shop) -> None:
    lines = said(shop, "prune")
    assert lines[0] == "nothing dropped"
    assert lines[1:4] == [
        "2026-01-07 seq 1: kept, live, one of the newest 7",
        "2026-01-06 seq 1: kept, rollback goes there, one of the newest 7",
        "2026-01-05 seq 1: kept, one of the newest 7",
    ]


def test_what_goes_and_what_stays_is_told_with_the_reason(shop: Shop) -> None:
    said(shop, "rollback", "--to", "2026-01-03", "--why", "known good")
    assert said(shop, "prune", "--keep", "2") == [
        "2026-01-01 seq 1: lists dropped",
        "2026-01-04 seq 1: lists dropped",
        "2026-01-05 seq 1: lists dropped",
        "2026-01-07 seq 1: kept, one of the newest 2",
        "2026-01-06 seq 1: kept, one of the newest 2",
        "2026-01-03 seq 1: kept, live",
        "2026-01-02 seq 1: kept, rollback goes there",
    ]


def test_a_long_reader_is_named_as_what_holds_lists_up(shop: Shop, database: DatabaseConfig) -> None:
    assert database.url
    with psycopg2.connect(database.url.get_secret_value()) as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from recs.user_lists")
        lines = said(shop, "prune", "--keep", "6")
        assert lines[:2] == [
            "nothing dropped",
            "2026-01-01 seq 1: not dropped yet, somebody has been reading for long or is pruning now; nobody can "
            "go back to it, and the next night or `recjobs prune` drops it",
        ]
        status = json.loads(shop.recjobs("db", "status", "--json").stdout)
        assert [one["ds"] for one in status["held_up"]] == ["2026-01-01"]
        assert status["held_up"][0]["bytes"] > 0
    reader.close()
    told = json.loads(shop.recjobs("prune", "--keep", "6", "--json").stdout)
    assert [one["ds"] for one in told["dropped"]] == ["2026-01-01"]
    assert told["held_up"] == []
    assert [one["why"] for one in told["kept"]][:2] == [
        ["live", "one of the newest 6"],
        ["rollback goes there", "one of the newest 6"],
    ]


def test_fewer_than_live_and_its_predecessor_can_not_be_asked_for(shop: Shop) -> None:
    ended = shop.recjobs("prune", "--keep", "1")
    assert ended.returncode == 2
    assert "--keep" in ended.stderr


def test_a_rollback_without_a_reason_is_refused(shop: Shop) -> None:
    ended = shop.recjobs("rollback", "--why", " ")
    assert ended.returncode == 2
    assert "--why" in ended.stderr
