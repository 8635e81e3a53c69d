"""session_list: similar items of what was just seen, merged; what was seen is left out."""

from __future__ import annotations

from random import Random

import pytest

from tests.sql.conftest import Ask

TAG = "2026-01-05/r1"


def test_shares_fall_by_a_fifth_with_every_step_back(ask: Ask) -> None:
    # The neighbours of i1 are i2 … i6 with 1, .8, …, .2; those of i3, the latest, i4 … i8.
    rows = ask("select item_id, score, reason from recs.session_list(array['i1', 'i3'], 3)")
    assert rows == [
        (f"{TAG} i4", pytest.approx(1 + 0.8 * 0.6), "similar to i3"),
        (f"{TAG} i5", pytest.approx(0.8 + 0.8 * 0.4), "similar to i3"),
        (f"{TAG} i2", pytest.approx(0.8 * 1), "similar to i1"),
    ]


def test_what_was_seen_or_is_gone_is_left_out(ask: Ask) -> None:
    ask("insert into recs.item_availability values (%s, false)", f"{TAG} i5")
    rows = ask("select position, item_id from recs.session_list(array[%s, 'i3'], 2)", f"{TAG} i4")
    assert rows == [(1, f"{TAG} i6"), (2, f"{TAG} i7")]


def test_seen_twice_counts_once_as_the_latest(ask: Ask) -> None:
    twice = ask("select item_id, score from recs.session_list(array['i3', 'i1', 'i3'], 5)")
    assert twice == ask("select item_id, score from recs.session_list(array['i1', 'i3'], 5)")


def test_too_few_are_made_up_from_everybodys_list(ask: Ask) -> None:
    everybody = [f"{TAG} all i{n}" for n in range(5)]
    rows = ask("select position, item_id from recs.session_list(array['i3'], 8)")
    assert [position for position, _ in rows] == list(range(1, 9))
    assert [item for _, item in rows[5:]] == everybody[:3]
    for nothing in ("null", "array[]::text[]", "array[null]::text[]", "array['unknown']"):
        assert [item for (item,) in ask(f"select item_id from recs.session_list({nothing}, 3)")] == everybody[:3]


def test_large_and_odd_input_is_safe(ask: Ask) -> None:
    seen = [f"x{n}" for n in range(100_000)] + ["i3"]
    assert ask("select item_id from recs.session_list(%s, 1)", seen) == [(f"{TAG} i4",)]
    for n in (0, -1):
        assert ask("select * from recs.session_list(array['i3'], %s)", n) == []
    assert len(ask("select * from recs.session_list(array['i3'], null)")) == 10


def test_too_few_are_made_up_from_the_users_own_list_of_the_surface(ask: Ask) -> None:
    rows = ask("select item_id, reason from recs.session_list(array['i3', %s], 7, 'email', 'u1')", f"{TAG} i0")
    own = [(f"{TAG} i{n}", "email for you") for n in (1, 2)]
    assert [item for item, _ in rows[:5]] == [f"{TAG} i{n}" for n in (4, 5, 6, 7, 8)]
    assert rows[5:] == own


def test_it_merges_as_the_plain_rule_does(ask: Ask) -> None:
    random = Random(1)
    for case in range(30):
        similar = {f"s{n}": draw_list(random) for n in range(6)}
        gone = random.sample(range(30), random.choice([0, 3, 25]))
        seen = random.choices([*similar, "p4", "unknown"], k=random.randint(1, 8))
        ask("delete from recs.item_lists; delete from recs.item_availability")
        for item, neighbours in similar.items():
            ask(
                "insert into recs.item_lists_g1 (item_id, items, scores) values (%s, %s, %s)",
                item, "\x1f".join(name for name, _ in neighbours), [score for _, score in neighbours],
            )  # fmt: skip
        ask("insert into recs.item_availability select 'p' || unnest(%s::int[]), false", gone)
        expected = merged(similar, seen, {f"p{n}" for n in gone})
        rows = ask("select item_id, score, reason from recs.session_list(%s, 6)", seen)[: len(expected)]
        assert rows == [
            (item, pytest.approx(score, abs=1e-5), f"similar to {why}") for item, score, why in expected[:6]
        ], case


def draw_list(random: Random) -> list[tuple[str, float]]:
    # Scores far enough apart that no two sums come out the same by chance.
    return [(f"p{n}", random.uniform(-0.2, 1)) for n in random.sample(range(30), random.randint(0, 20))]


def merged(
    similar: dict[str, list[tuple[str, float]]], seen: list[str], gone: set[str]
) -> list[tuple[str, float, str]]:
    recent = list(dict.fromkeys(reversed(seen)))
    shares: dict[str, list[tuple[float, str]]] = {}
    for steps_back, item in enumerate(recent):
        for neighbour, score in similar.get(item, []):
            if neighbour not in recent and neighbour not in gone:
                shares.setdefault(neighbour, []).append((score * 0.8**steps_back, item))
    rows = [(item, sum(share for share, _ in all_), max(all_)[1]) for item, all_ in shares.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))
