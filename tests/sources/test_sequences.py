"""The sequence importer: ends aligned, every line kept or counted."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs import storage
from recjobs.errors import CorruptFileError, MissingInputError
from recjobs.settings import load_settings
from recjobs.sources.contract import item_contract
from recjobs.sources.pinning import pin_sources
from recjobs.sources.reading import read_blocks
from recjobs.sources.sequences import LAST_DATE, import_sequences


def events(into: Path) -> pl.DataFrame:
    return pl.read_parquet(str(into / "events" / "date=*" / "part-00000.parquet"), hive_partitioning=False)


def test_ends_are_aligned_and_each_step_has_its_date(tmp_path: Path) -> None:
    source = tmp_path / "sequences.txt"
    source.write_text("ann a b c\nbob d\n")
    last = date(2024, 3, 1)
    report = import_sequences(source, str(tmp_path / "in"), last)
    assert report.dates == (date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1))
    by_day = {day: frame.select("user_id", "item_id").rows() for day, frame in _by_day(events(tmp_path / "in"))}
    assert by_day == {
        date(2024, 2, 28): [("ann", "a")],
        date(2024, 2, 29): [("ann", "b")],
        date(2024, 3, 1): [("ann", "c"), ("bob", "d")],
    }
    assert set(events(tmp_path / "in")["event_type"]) == {"interaction"}


def _by_day(frame: pl.DataFrame) -> list[tuple[date, pl.DataFrame]]:
    days = frame.with_columns(day=pl.col("timestamp").dt.date()).sort("user_id")
    return [(key[0], part) for key, part in days.partition_by("day", as_dict=True).items()]


def test_lines_that_are_no_sequence_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "sequences.txt"
    source.write_text("ann a b\n\nbob\nann c\ncid\td  e \n")
    report = import_sequences(source, str(tmp_path / "in"))
    assert report.left_out == {"empty line": 1, "user without an item": 1, "user seen on an earlier line": 1}
    assert (report.read, report.kept, report.events, report.users, report.items) == (5, 2, 4, 2, 4)
    assert report.dates[-1] == LAST_DATE


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=8))
def test_a_user_s_events_by_time_are_the_line(lines: list[list[int]]) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder) / "sequences.txt"
        source.write_text("\n".join(f"u{n} {' '.join(map(str, items))}" for n, items in enumerate(lines)))
        report = import_sequences(source, f"{folder}/in")
        assert len(report.dates) == max(map(len, lines))
        read = events(Path(folder) / "in").sort("timestamp")
        for n, items in enumerate(lines):
            mine = read.filter(pl.col("user_id") == f"u{n}")
            assert mine["item_id"].to_list() == [str(item) for item in items]
            assert mine["timestamp"].dt.date().to_list() == [
                LAST_DATE - timedelta(days=back) for back in reversed(range(len(items)))
            ]


def test_the_same_import_again_changes_nothing_and_a_shorter_one_leaves_nothing_over(tmp_path: Path) -> None:
    source, into = tmp_path / "sequences.txt", str(tmp_path / "in")
    source.write_text("ann a b c\n")
    import_sequences(source, into)
    before = [(file.name, storage.digest(file.uri)) for file in storage.list_files(into)]
    import_sequences(source, into)
    assert [(file.name, storage.digest(file.uri)) for file in storage.list_files(into)] == before
    source.write_text("ann a\n")
    import_sequences(source, into)
    assert storage.list_folders(f"{into}/events") == [f"date={LAST_DATE}"]


def test_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no such file"):
        import_sequences(tmp_path / "nothing.txt", str(tmp_path / "in"))
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    with pytest.raises(CorruptFileError, match="no line is"):
        import_sequences(empty, str(tmp_path / "in"))
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptFileError, match="no UTF-8"):
        import_sequences(binary, str(tmp_path / "in"))


def items(into: Path) -> dict[str, str | None]:
    return dict(pl.read_parquet(into / "items" / "part-00000.parquet").rows())


def test_items_have_the_attributes_that_are_given(tmp_path: Path) -> None:
    source, attributes = tmp_path / "sequences.txt", tmp_path / "attributes.json"
    source.write_text("ann b a 10\nbob a c\n")
    attributes.write_text('{"a": [12, 53], "10": ["red"], "c": [], "gone": [1]}')
    report = import_sequences(source, str(tmp_path / "in"), attributes=attributes)
    assert items(tmp_path / "in") == {"10": "ared", "a": "a12 a53", "b": None, "c": None}
    assert "2 of 4 items have attributes" in report.notes


def test_without_attributes_every_item_is_listed_and_the_shipped_config_reads_it(tmp_path: Path) -> None:
    source = tmp_path / "sequences.txt"
    source.write_text("ann b a\n")
    import_sequences(source, str(tmp_path / "in"))
    assert items(tmp_path / "in") == {"a": None, "b": None}
    shipped = {f"{kind}.path": str(tmp_path / "in" / kind) for kind in ("events", "items")}
    config = load_settings("sequences", {"root": str(tmp_path / "artefacts"), **shipped})
    assert config.items is not None
    pinned = pin_sources(config, LAST_DATE).items
    assert [(file.day, file.uri.rsplit("/", 1)[-1]) for file in pinned] == [(None, "part-00000.parquet")]
    blocks = list(read_blocks(pinned[0], item_contract(config.items)))
    good = pl.concat([block.split()[0] for block in blocks])
    assert good.select("item_id", "attributes").rows() == [("a", None), ("b", None)]


@pytest.mark.parametrize("content", ["[1]", '{"a": 1}', '{"a": [true]}', '{"a": ["two words"]}', "{"])
def test_attributes_that_are_no_lists_are_refused(tmp_path: Path, content: str) -> None:
    source, attributes = tmp_path / "sequences.txt", tmp_path / "attributes.json"
    source.write_text("ann a\n")
    attributes.write_text(content)
    with pytest.raises(CorruptFileError, match=r"attributes\.json: (no JSON|the attributes of item 'a' are)"):
        import_sequences(source, str(tmp_path / "in"), attributes=attributes)
    with pytest.raises(MissingInputError, match="no such file"):
        import_sequences(source, str(tmp_path / "in"), attributes=tmp_path / "nothing.json")
