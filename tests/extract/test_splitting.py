from __future__ import annotations

import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recjobs.extract.splitting import UNIT_BYTES, by_shard, units
from recjobs.manifest import SourceFile
from recjobs.shards import shard_of


def file(name: str, size: int) -> SourceFile:
    return SourceFile(uri=name, digest="d", size=size)


def test_small_files_are_read_together_in_order_and_large_ones_alone() -> None:
    half = UNIT_BYTES // 2
    events = [file("a", half), file("b", half), file("c", 1), file("d", 3 * UNIT_BYTES), file("e", 5)]
    found = units(events, [file("u", 1)])
    assert [[each.uri for each in unit.files] for unit in found] == [["a", "b"], ["c"], ["d"], ["e"], ["u"]]
    assert [unit.number for unit in found] == [0, 1, 2, 3, 4]
    assert [unit.section for unit in found] == ["events"] * 4 + ["users"]


@given(st.lists(st.text(max_size=3), min_size=1, max_size=50), st.integers(1, 7))
def test_every_row_goes_to_its_users_shard_in_the_order_it_came(users: list[str], shards: int) -> None:
    frame = pl.DataFrame({"user_id": users, "place": range(len(users))})
    expected = shard_of(pa.array(users), shards).tolist()
    found = {place: shard for shard, rows in by_shard(frame, shards) for place in rows["place"]}
    assert [found[place] for place in range(len(users))] == expected
    assert all(rows["place"].is_sorted() for _, rows in by_shard(frame, shards))
