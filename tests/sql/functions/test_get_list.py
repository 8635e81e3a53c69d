"""get_list: the user's list, then the segment's, then everybody's; what is gone is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import connected
from tests.publish.composed import night
from tests.sql.conftest import Ask

TAG = "2026-01-05/r1"
OWN = [f"{TAG} i{n}" for n in range(5)]
COUNTRY = [f"{TAG} country=GB i{n}" for n in range(5)]
ALL = [f"{TAG} all i{n}" for n in range(5)]


def items(ask: Ask, *arguments: object) -> list[str]:
    rows = ask(f"select position, item_id from recs.get_list({', '.join(['%s'] * len(arguments))})", *arguments)
    assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
    return [item for _, item in rows]


def test_a_users_own_list_best_first_with_scores_and_reasons(ask: Ask) -> None:
    assert ask("select * from recs.get_list('u1', 'email', 2)") == [
        (1, OWN[0], 1.0, "email for you"),
        (2, OWN[1], pytest.approx(0.775), "email for you"),
    ]


def test_home_and_twenty_are_the_defaults(ask: Ask) -> None:
    assert ask("select distinct reason from recs.get_list('u1', n => 5)") == [("home for you",)]
    assert items(ask, "u1") == OWN + ALL


def test_an_unknown_user_gets_the_segments_list_then_everybodys(ask: Ask) -> None:
    assert items(ask, "nobody", "home", 3) == ALL[:3]
    assert items(ask, "nobody", "home", 3, "country=GB") == COUNTRY[:3]
    assert items(ask, "nobody", "home", 8, "country=GB") == COUNTRY + ALL[:3]
    assert items(ask, "nobody", "home", 3, "country=XX") == ALL[:3]


def test_unavailable_items_are_left_out_and_made_up_for(ask: Ask) -> None:
    ask("insert into recs.item_availability values (%s, false), (%s, true), (%s, false)", OWN[0], OWN[1], ALL[0])
    assert items(ask, "u1", "home", 3) == OWN[1:4]
    assert items(ask, "u1", "home", 6) == OWN[1:] + ALL[1:3]
    ask("update recs.item_availability set available = true")
    assert items(ask, "u1", "home", 3) == OWN[:3]


def test_no_item_twice_where_lists_overlap(ask: Ask) -> None:
    ask("update recs.segment_lists set items = replace(items, %s, %s) where segment = 'all'", ALL[1], OWN[3])
    assert items(ask, "u1") == [*OWN, ALL[0], *ALL[2:]]


@pytest.mark.parametrize("n", [0, -1, -(2**31)])
def test_asked_for_none_it_gives_none(ask: Ask, n: int) -> None:
    assert items(ask, "u1", "home", n) == []


def test_nulls_and_nonsense_are_safe(ask: Ask) -> None:
    assert items(ask, None, None, None, None) == ALL
    assert items(ask, "", "home", 2) == ALL[:2]
    assert items(ask, "x" * 1_000_000, "home", 2, "y" * 1_000_000) == ALL[:2]
    assert items(ask, "'; drop table recs.live; --", "home", 2) == ALL[:2]
    assert items(ask, "u1", "home", 2**31 - 1) == OWN + ALL
    assert items(ask, "u1", "no such surface") == []


def test_before_anything_is_live_it_gives_nothing(ask: Ask) -> None:
    ask("delete from recs.live")
    assert items(ask, "u1") == []


def test_every_step_is_an_index_probe(ask: Ask) -> None:
    ask("set enable_seqscan = off")
    plan = ask(
        "explain select items from recs.stored_user_lists where generation = 1 and user_id = 'u1' and surface = 'home'"
    )
    text = "\n".join(line for (line,) in plan)
    assert "Index Scan using user_lists_g1_pkey" in text
    assert "Index Cond: ((generation = 1) AND (user_id = 'u1'::text) AND (surface = 'home'::text))" in text


READS = (
    "recs.get_list('u1')",
    "recs.get_list('nobody', segment => 'country=GB')",
    "recs.similar_items('i1')",
    "recs.session_list(array['i1', 'i2'], 20, 'email', 'u1')",
)


def test_functions_scan_no_table_however_small_it_was_when_the_session_began(ask: Ask) -> None:
    for reads in READS:
        ask(f"select * from {reads}")  # plans while item_availability is empty
    ask("insert into recs.item_availability select 'gone ' || n, false from generate_series(1, 5000) n")
    ask("begin")
    for reads in READS:
        assert ask(f"select * from {reads}")
    scans = ask(
        "select relname, coalesce(seq_scan, 0), coalesce(idx_scan, 0) from pg_stat_xact_all_tables "
        "where schemaname = 'recs' and coalesce(seq_scan, 0) + coalesce(idx_scan, 0) > 0 order by 1"
    )
    ask("rollback")
    assert {name for name, *_ in scans} == {
        "item_availability", "item_lists_g1", "live", "segment_lists_g1", "user_lists_g1",
    }  # fmt: skip
    assert [name for name, sequential, _ in scans if sequential] == []


def test_many_gone_still_gives_n_from_the_rest_of_the_list(tmp_path: Path, any_database: DatabaseConfig) -> None:
    night(tmp_path, any_database, length=100).publish()
    with connected(any_database, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(
            "insert into recs.item_availability "
            "select %s || ' i' || n, false from generate_series(0, 70) n where n <> 3",
            (TAG,),
        )
        cursor.execute("select position, item_id from recs.get_list('u1', 'home', 20)")
        rows = cursor.fetchall()
    assert rows == [(place, f"{TAG} i{n}") for place, n in enumerate([3, *range(71, 90)], 1)]
