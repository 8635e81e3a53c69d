from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from recjobs.errors import ContractError, MissingInputError
from recjobs.sources.partitions import list_partitions


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folders_and_flat_files_are_days_and_the_rest_is_undated(tmp_path: Path) -> None:
    touch(tmp_path, "date=2026-01-02/b.csv", "date=2026-01-02/a.csv", "2026-01-01.csv", "all.csv", "more/x.csv")
    touch(tmp_path, "date=2026-01-03/_SUCCESS", "date=2026-01-04/x.parquet", "README.md", ".2026-01-05.csv")
    found = list_partitions(str(tmp_path), "csv")
    assert found.days() == [date(2026, 1, 1), date(2026, 1, 2)]
    assert [file.name for file in found.dated[date(2026, 1, 2)]] == ["date=2026-01-02/a.csv", "date=2026-01-02/b.csv"]
    assert [file.name for file in found.undated] == ["all.csv", "more/x.csv"]


@pytest.mark.parametrize("name", ["date=2026-02-30/a.csv", "2026-13-01.csv", "date=/a.csv"])
def test_a_date_that_does_not_exist_is_no_undated_file(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "2026-01-01.csv", name)
    with pytest.raises(ContractError, match=r"is no date\. Name partitions date=YYYY-MM-DD or YYYY-MM-DD\.csv"):
        list_partitions(str(tmp_path), "csv")


def test_a_missing_folder_says_what_to_deliver(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"nowhere: no such folder.*date=YYYY-MM-DD/\*\.parquet folders"):
        list_partitions(str(tmp_path / "nowhere"), "parquet")


def test_files_of_the_other_format_point_at_the_setting(tmp_path: Path) -> None:
    touch(tmp_path, "2026-01-01.csv")
    with pytest.raises(MissingInputError, match=r'has \.csv files but no \.parquet ones\. Set format = "csv"'):
        list_partitions(str(tmp_path), "parquet")


def test_other_files_alone_are_not_taken(tmp_path: Path) -> None:
    touch(tmp_path, "2026-01-01.json")
    with pytest.raises(MissingInputError, match=r"1 files but none ends in \.csv"):
        list_partitions(str(tmp_path), "csv")
