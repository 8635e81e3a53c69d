"""Each fault planted in finished lists is counted by the check of its name, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from recjobs.columns import LIST_SCHEMA
from recjobs.compose.checks import FAULTS, checks_of, faults_of, item_lists_check
from tests.compose.worlds import Person, World, scene_of

CATALOGUE = scene_of(World(6, {1, 2, 3, 4}, [Person()])).catalogue
USERS = ["a", "b"]
Rows = list[dict[str, object]]


def rows() -> Rows:
    return [
        {"user_id": user, "item_id": ["i1", "i2", "i3"], "score": [3.0, 2.0, 2.0], "reason": [""] * 3, "regime": "warm"}
        for user in USERS
    ]


def counted(lists: Rows) -> dict[str, int]:
    return faults_of(pa.Table.from_pylist(lists, LIST_SCHEMA), pa.array(USERS), CATALOGUE, 3)


def drop_user(lists: Rows) -> None:
    del lists[0]


def list_twice(lists: Rows) -> None:
    lists.append(lists[1])


def stranger(lists: Rows) -> None:
    lists[0]["user_id"] = "c"


def shorten(lists: Rows) -> None:
    lists[0] |= {"item_id": ["i1"], "score": [1.0], "reason": [""]}


def put(column: str, values: list[object]) -> Callable[[Rows], None]:
    def change(lists: Rows) -> None:
        lists[1][column] = values

    return change


@pytest.mark.parametrize(
    ("change", "fault", "count"),
    [
        (drop_user, "users missing", 1),
        (list_twice, "users missing", 1),
        (stranger, "users missing", 2),
        (shorten, "lists short", 1),
        (put("item_id", ["i1", "i2", "i1"]), "duplicates", 1),
        (put("item_id", ["i1", "i5", "i7"]), "ineligible", 2),
        (put("score", [float("inf"), 1.0, 1.0]), "scores not finite", 1),
        (put("score", [1.0, 2.0, 3.0]), "scores rising", 1),
    ],
)
def test_each_fault_is_counted(change: Callable[[Rows], None], fault: str, count: int) -> None:
    lists = rows()
    assert counted(lists) == dict.fromkeys(FAULTS, 0)
    change(lists)
    assert counted(lists) == {**dict.fromkeys(FAULTS, 0), fault: count}
    failed = [check.name for check in checks_of({"home": counted(lists)}) if not check.passed]
    assert failed == [f"home: no {fault}"]


def test_short_item_lists_warn_and_do_not_refuse() -> None:
    check = item_lists_check([5] * 18 + [2] * 2, 5)
    assert (check.passed, check.severity, check.value) == (False, "warn", 0.1)
    assert item_lists_check([5] * 20, 5).passed
    assert item_lists_check([], 5).passed
