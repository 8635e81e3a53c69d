"""lists: the live lists for people who only want SELECT."""

from __future__ import annotations

from tests.sql.conftest import Ask

TAG = "2026-01-05/r1"


def test_a_row_per_recommendation(ask: Ask) -> None:
    assert ask("select count(*) from recs.lists") == [(20 * 2 * 5,)]
    statement = (
        "select position, item_id, reason from recs.lists where user_id = 'u1' and surface = 'email' order by 1 limit 2"
    )
    assert ask(statement) == [(1, f"{TAG} i0", "email for you"), (2, f"{TAG} i1", "email for you")]


def test_unavailable_items_are_left_out(ask: Ask) -> None:
    ask("insert into recs.item_availability values (%s, false)", f"{TAG} i0")
    assert ask("select min(position) from recs.lists where user_id = 'u1'") == [(2,)]
