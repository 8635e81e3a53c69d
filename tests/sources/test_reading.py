from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import ContractError, CorruptFileError, MissingInputError, SettingsError
from recjobs.manifest import SourceFile
from recjobs.sources import reading
from recjobs.sources.casting import cast_cells
from recjobs.sources.config import EventsSource, EventType, ItemsSource, UsersSource
from recjobs.sources.contract import Contract, event_contract, item_contract, user_contract
from recjobs.sources.reading import read_blocks

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HEADER = "user_id,item_id,event_type,timestamp,value\n"


def events(form: Any = "csv", **further: Any) -> Contract:
    return event_contract(EventsSource(path="x", format=form, types={"view": EventType(task="click")}, **further))


def pinned(path: Path) -> SourceFile:
    return SourceFile(uri=str(path), digest=storage.digest(str(path)), size=path.stat().st_size)


def read(path: Path, contract: Contract) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows and quarantine of a whole file."""
    splits = [block.split() for block in read_blocks(pinned(path), contract)]
    return pl.concat([good for good, _ in splits]), pl.concat([bad for _, bad in splits])


def csv_file(folder: Path, content: str | bytes) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet_file(folder: Path, **columns: Any) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def good_columns(size: int = 1) -> dict[str, Any]:
    return {
        "user_id": ["ann"] * size,
        "item_id": ["a"] * size,
        "event_type": ["view"] * size,
        "timestamp": pa.array([NOON] * size, c.TIME_TYPE),
    }


# -- CSV rows


def test_bad_rows_come_with_line_reason_and_row(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        HEADER
        + "ann,a,view,2026-01-01 12:00:00,1.5\n"
        + "bob,a,view,2026-01-01 12:00:00,cheap\n"
        + "cy,a\n"
        + '"d\ne",a,view,01/02/2026,1\n'
        + "\n"
        + ",a,view,2026-01-01 12:00:00,\n"
        + "eve,a,view,2026-01-01 12:00:00,2\n",
    )
    good, bad = read(path, events())
    assert good.select(c.USER, c.VALUE).rows() == [("ann", 1.5), ("eve", 2.0)]
    assert bad.sort(c.LINE).select(c.LINE, c.REASON).rows() == [
        (3, "value is no finite number"),
        (4, "2 cells where the header has 5"),
        (5, "timestamp is no time"),
        (6, "user_id is missing"),
    ]
    rows = dict(bad.select(c.LINE, c.ROW).rows())
    assert json.loads(rows[3])["value"] == "cheap"
    assert json.loads(rows[4]) == "cy,a"
    assert bad[c.FILE].unique().to_list() == [str(path)]


def test_lines_are_right_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CSV_BLOCK_BYTES", 300)
    kinds = ["good", "short", "badtime"]
    expected: dict[str, list[int]] = {kind: [] for kind in kinds}
    lines = []
    for number in range(200):
        kind = kinds[(number * 7 + number // 3) % 3]
        expected[kind].append(number + 2)
        stamp = "never" if kind == "badtime" else "2026-01-01 12:00:00"
        lines.append(f"u{number}" if kind == "short" else f"u{number},a,view,{stamp},1")
    path = csv_file(tmp_path, HEADER + "\n".join(lines) + "\n")
    blocks = list(read_blocks(pinned(path), events()))
    assert len(blocks) > 10
    bad = pl.concat([block.split()[1] for block in blocks])
    assert bad.filter(pl.col(c.REASON) == "timestamp is no time")[c.LINE].to_list() == expected["badtime"]
    assert bad.filter(pl.col(c.REASON).str.contains("cells"))[c.LINE].sort().to_list() == expected["short"]
    assert [line for block in blocks for line in block.lines.filter(block.reasons.is_null())] == expected["good"]
    assert sum(block.rows_read for block in blocks) == 200


def test_a_row_that_is_not_utf8_is_bad_alone(tmp_path: Path) -> None:
    path = csv_file(tmp_path, HEADER.encode() + b"ann,a,view,2026-01-01,\nbob,caf\xe9,view,2026-01-01,\n")
    good, bad = read(path, events())
    assert good[c.USER].to_list() == ["ann"]
    assert bad.select(c.LINE, c.REASON).rows() == [(3, "text is not UTF-8")]
    assert json.loads(bad[c.ROW][0])["item_id"] == "caf�"


def test_a_header_alone_is_a_day_without_events(tmp_path: Path) -> None:
    assert list(read_blocks(pinned(csv_file(tmp_path, HEADER)), events())) == []
    assert list(read_blocks(pinned(csv_file(tmp_path, HEADER.strip())), events())) == []


def test_malformed_rows_alone_are_told(tmp_path: Path) -> None:
    good, bad = read(csv_file(tmp_path, HEADER + "x\ny,z\n"), events())
    assert good.is_empty()
    assert bad[c.LINE].to_list() == [2, 3]


@pytest.mark.parametrize("content", [b"", b"\n", "user_id;æ".encode("utf-16")])
def test_a_csv_without_a_header_is_corrupt(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CorruptFileError, match=r"rows\.csv (has no header line|is not UTF-8 text)"):
        read(csv_file(tmp_path, content), events())


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    good, _ = read(csv_file(tmp_path, b"\xef\xbb\xbf" + HEADER.encode() + b"ann,a,view,2026-01-01,\n"), events())
    assert good[c.USER].to_list() == ["ann"]


# -- columns


def test_renamed_columns_are_found(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "who,what,event_type,timestamp,item_id\nann,a,view,2026-01-01,other\n")
    good, _ = read(path, events(columns={"user_id": "who", "item_id": "what"}))
    assert good.select(c.USER, c.ITEM).rows() == [("ann", "a")]


def test_a_rename_of_an_unknown_column_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"\[events\.columns\] 'usr' is no column of ours"):
        events(columns={"usr": "who"})


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_missing_column_is_named_with_file_and_fix(tmp_path: Path, form: str) -> None:
    path = parquet_file(tmp_path, user_id=["ann"], kind=["view"])
    if form == "csv":
        path = csv_file(tmp_path, "user_id,kind\nann,view\n")
    told = rf"rows\.{form} has no column 'item_id', which \[events\] needs.*'kind', 'user_id'.*\[events\.columns\]"
    with pytest.raises(ContractError, match=told):
        read(path, events(form))


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "user_id,item_id,event_type,timestamp,user_id\n1,2,3,4,5\n")
    with pytest.raises(ContractError, match="has column 'user_id' 2 times"):
        read(path, events())


def test_optional_columns_that_are_not_there_are_null(tmp_path: Path) -> None:
    good, _ = read(parquet_file(tmp_path, **good_columns()), events("parquet"))
    assert good.schema == pl.Schema(events().dtypes())
    assert good.row(0, named=True) == {
        **dict.fromkeys(events().dtypes()),
        "user_id": "ann",
        "item_id": "a",
        "event_type": "view",
        "timestamp": NOON,
    }


def test_identity_columns_are_read_besides(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "user_id,item_id,event_type,timestamp,invoice\nann,a,view,2026-01-01,7\n")
    assert read(path, events(identity=["invoice", "item_id"]))[0]["invoice"].to_list() == ["7"]
    with pytest.raises(ContractError, match="no column 'basket'"):
        read(path, events(identity=["basket"]))


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("timestamp", [[1, 2]], r"column 'timestamp' of .*rows\.parquet is list<.*needs timestamps"),
        ("timestamp", [1.5], "is double"),
        ("user_id", [17850.0], "column 'user_id' .* is double; .* needs text or integers"),
        ("value", [NOON], r"is timestamp.*needs numbers for value\. Write the column so, or name another"),
    ],
)
def test_a_parquet_column_of_a_hopeless_type_is_named(tmp_path: Path, name: str, values: Any, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        read(parquet_file(tmp_path, **{**good_columns(), name: values}), events("parquet"))


def test_parquet_types_that_mean_the_same_are_taken(tmp_path: Path) -> None:
    columns = good_columns(2)
    columns["user_id"] = [17850, 17851]
    columns["item_id"] = pa.array(["a", "b"]).dictionary_encode()
    columns["value"] = pa.array([Decimal("1.50"), None], pa.decimal128(10, 2))
    columns["timestamp"] = pa.array([NOON, NOON], pa.timestamp("ns", tz="+02:00"))
    good, bad = read(parquet_file(tmp_path, **columns), events("parquet"))
    assert good.select(c.USER, c.ITEM, c.VALUE, c.TIMESTAMP).rows() == [
        ("17850", "a", 1.5, NOON),
        ("17851", "b", None, NOON),
    ]
    assert bad.is_empty()


def test_a_bad_cell_of_a_parquet_file_is_a_bad_row(tmp_path: Path) -> None:
    columns = good_columns(3) | {"value": [1.0, float("inf"), 2.0]}
    good, bad = read(parquet_file(tmp_path, **columns), events("parquet"))
    assert good[c.VALUE].to_list() == [1.0, 2.0]
    assert bad.select(c.LINE, c.REASON).rows() == [(2, "value is no finite number")]
    assert json.loads(bad[c.ROW][0])["user_id"] == "ann"


# -- files


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "flipped"])
def test_a_damaged_parquet_file_is_corrupt(tmp_path: Path, damage: str) -> None:
    path = parquet_file(tmp_path, **good_columns(1000) | {"value": [float(number) for number in range(1000)]})
    whole = path.read_bytes()
    damaged = bytearray(whole)
    for place in range(60, len(whole) - 2000, 7):
        damaged[place] ^= 0xFF
    content = {"truncated": whole[:-10], "text": b"user_id,item_id\n", "empty": b"", "flipped": bytes(damaged)}
    path.write_bytes(content[damage])
    with pytest.raises(CorruptFileError, match=r"rows\.parquet can't be read as parquet: .*Deliver the file again"):
        read(path, events("parquet"))


def test_a_file_replaced_after_planning_is_not_read(tmp_path: Path) -> None:
    path = csv_file(tmp_path, HEADER)
    file = pinned(path)
    csv_file(tmp_path, HEADER + "ann,a,view,2026-01-01,\n")
    with pytest.raises(MissingInputError, match=r"has changed since the run was planned.*Plan the run again"):
        list(read_blocks(file, events()))


def test_snapshots_have_their_declared_columns(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        'item_id,title,available,size,image,colour\n1,"Cup, blue",no,4.5,"[0.5, 1]",red\n2,,maybe,1,"[1,x]",\n',
    )
    source = ItemsSource(path="x", format="csv", numeric=["size"], categorical=["colour"], vectors=["image"])
    good, bad = read(path, item_contract(source))
    assert good.select("item_id", "title", "available", "size", "image", "colour").rows() == [
        ("1", "Cup, blue", False, 4.5, [0.5, 1.0], "red")
    ]
    assert bad[c.REASON].to_list() == ["available is no true or false"]
    users = user_contract(UsersSource(path="x", format="csv", numeric=["age"]))
    (tmp_path / "rows.csv").write_text("user_id,signup_at,age\nann,2026-01-01T12:00Z,\n")
    assert read(tmp_path / "rows.csv", users)[0].select("signup_at", "age").rows() == [(NOON, None)]


def test_static_must_name_columns() -> None:
    with pytest.raises(SettingsError, match=r"\[items\] static names 'titel'"):
        item_contract(ItemsSource(path="x", static=["titel"]))


# -- cells


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-01 12:00:00", NOON),
        ("2026-01-01T12:00:00Z", NOON),
        ("2026-01-01T12:00:00.250000+00:00", NOON + timedelta(milliseconds=250)),
        ("2026-01-01 14:00:00+02:00", NOON),
        ("2026-01-01T06:30:00-0530", NOON),
        ("2026-01-01 14:00+02", NOON),
        ("2026-01-01 12:00", NOON),
        ("2026-01-01 12:00:00 UTC", NOON),
        (" 2026-01-01 12:00:00 ", NOON),
        ("2026-01-01", NOON - timedelta(hours=12)),
        ("1767268800", NOON),
        ("1767268800000", NOON),
        ("1767268800000000", NOON),
        ("1767268800000000000", NOON),
        ("2026-02-30", None),
        ("2026-01-01 25:00:00", None),
        ("01/02/2026", None),
        ("noon", None),
    ],
)
def test_times(text: str, moment: datetime | None) -> None:
    cast, bad = cast_cells(pl.Series([text, None]), "time")
    assert cast.to_list() == [moment, None]
    assert bad.to_list() == [moment is None, False]


@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)),
            st.sampled_from([None, *(timezone(timedelta(minutes=offset)) for offset in (-720, -330, 0, 60, 845))]),
        ),
        min_size=1,
    )
)
def test_iso_times_of_any_zone_mix(times: list[tuple[datetime, timezone | None]]) -> None:
    cast, bad = cast_cells(pl.Series([moment.replace(tzinfo=zone).isoformat() for moment, zone in times]), "time")
    assert cast.to_list() == [moment.replace(tzinfo=zone or UTC).astimezone(UTC) for moment, zone in times]
    assert not bad.any()


@pytest.mark.parametrize(
    ("kind", "cells", "expected", "bad"),
    [
        ("id", ["a", "", None, "b\0"], ["a", None, None, "b"], [False, False, False, True]),
        ("id", ["a\x1fb", "a\tb"], ["a\x1fb", "a\tb"], [True, False]),
        ("id", ["é" * 1000, "é" * 1000 + "x"], ["é" * 1000, "é" * 1000 + "x"], [False, True]),
        ("text", ["NA", "", "x\0y"], ["NA", None, "xy"], [False, False, False]),
        (
            "number",
            ["1", " 2.5 ", "1e3", "1,5", "nan"],
            [1.0, 2.5, 1000.0, None, None],
            [False, False, False, True, False],
        ),
        ("number", [1, None], [1.0, None], [False, False]),
        ("flag", ["TRUE", "0", "no", "2"], [True, False, False, None], [False, False, False, True]),
        ("flag", [1, 0, 2], [True, False, None], [False, False, True]),
        ("vector", ["[1, 2.5]", "[]", "[1,]"], [[1.0, 2.5], None, None], [False, True, True]),
        ("vector", [[1.0, 2.0], [1.0, None], None], [[1.0, 2.0], None, None], [False, True, False]),
        ("time", [1767268800, 1767268800000], [NOON, NOON], [False, False]),
        ("time", [date(2026, 1, 1)], [NOON - timedelta(hours=12)], [False]),
    ],
)
def test_cells(kind: Any, cells: list[Any], expected: list[Any], bad: list[bool]) -> None:
    cast, found = cast_cells(pl.Series(cells, strict=False), kind)
    assert cast.to_list() == expected
    assert found.to_list() == bad
