"""similar_items: an item's nearest, without what is gone."""

from __future__ import annotations

from tests.sql.conftest import Ask

TAG = "2026-01-05/r1"


def test_nearest_first_with_score_and_reason(ask: Ask) -> None:
    assert ask("select * from recs.similar_items('i8', 2)") == [
        (1, f"{TAG} i9", 1.0, "similar to i8"),
        (2, f"{TAG} i0", 0.8, "similar to i8"),
    ]
    assert len(ask("select * from recs.similar_items('i8')")) == 5


def test_unavailable_items_are_left_out_and_positions_close_up(ask: Ask) -> None:
    ask("insert into recs.item_availability values (%s, false)", f"{TAG} i9")
    assert ask("select position, item_id from recs.similar_items('i8', 2)") == [(1, f"{TAG} i0"), (2, f"{TAG} i1")]


def test_unknown_null_and_negative_give_nothing(ask: Ask) -> None:
    for call in ("'no such item'", "null", "''", "'i1', 0", "'i1', -5", "repeat('x', 1000000)"):
        assert ask(f"select * from recs.similar_items({call})") == []
    assert len(ask("select * from recs.similar_items('i1', null)")) == 5
