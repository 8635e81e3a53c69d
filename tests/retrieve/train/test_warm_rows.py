from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recjobs.retrieve.train.rows import NEW, row_map, together
from recjobs.storage import StoredFile

IDS = st.lists(st.text("abcd", min_size=1, max_size=3), unique=True, max_size=12)


def frame(ids: list[str], start: int = 1) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": ids, "index": range(start, start + len(ids))}, schema={"id": pl.String, "index": pl.Int64}
    )


@given(old=IDS, new=IDS, seed=st.integers(0, 99))
def test_a_kept_id_has_its_old_row_bit_for_bit_and_nothing_else_has_one(
    old: list[str], new: list[str], seed: int
) -> None:
    random = np.random.default_rng(seed)
    before, fresh = (random.normal(size=(len(ids) + 1, 3)).astype(np.float32) for ids in (old, new))
    rows = row_map([(frame(old), frame(new))], before=len(old) + 1, rows=len(new) + 1)
    carried = rows.carried(before, fresh)
    assert carried.dtype == np.float32
    assert carried[0].tobytes() == before[0].tobytes()
    for place, name in enumerate(new, start=1):
        expected = before[1 + old.index(name)] if name in old else fresh[place]
        assert carried[place].tobytes() == expected.tobytes()
    common = set(old) & set(new)
    assert (rows.kept, rows.new, rows.retired) == (len(common), len(new) - len(common), len(old) - len(common))
    assert {int(row) for row in rows.new_rows} == {place for place, name in enumerate(new, start=1) if name not in old}


@given(old=IDS, new=IDS)
def test_forward_is_the_way_back(old: list[str], new: list[str]) -> None:
    rows = row_map([(frame(old), frame(new))], before=len(old) + 1, rows=len(new) + 1)
    for place, name in enumerate(old, start=1):
        assert rows.forward[place] == (1 + new.index(name) if name in new else 0)
    assert rows.forward[0] == 0


def test_ids_without_a_row_in_either_table_are_new_or_retired() -> None:
    old, new = frame(["a", "b", "c"]), frame(["c", "b", "a"])
    rows = row_map([(old, new)], before=3, rows=3)  # c had no row; a has none tonight
    assert rows.source.tolist() == [0, NEW, 2]
    assert (rows.kept, rows.new, rows.retired) == (1, 1, 1)


def test_an_index_of_0_is_no_row() -> None:
    rows = row_map([(frame(["a"], start=0), frame(["a"]))], before=2, rows=2)
    assert rows.source.tolist() == [0, NEW]


def test_a_table_of_one_number_a_row_is_carried_too() -> None:
    rows = row_map([(frame(["a"]), frame(["b", "a"]))], before=2, rows=3)
    assert rows.carried(np.array([1.0, 2.0]), np.array([7.0, 8.0, 9.0])).tolist() == [1.0, 8.0, 2.0]


def test_parts_meet_one_by_one_unless_the_shards_have_changed() -> None:
    def shards(*names: str) -> list[list[StoredFile]]:
        return [[StoredFile(letter, letter, 1) for letter in name] for name in names]

    assert list(together(shards("a", "b"), shards("cx", "d"))) == [[["a"], ["c", "x"]], [["b"], ["d"]]]
    assert list(together(shards("a", "b"), shards("c"))) == [[["a", "b"], ["c"]]]
