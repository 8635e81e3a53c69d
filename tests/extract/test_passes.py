from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from recjobs.errors import NotArrivedError
from recjobs.extract.passes import Record, run_pass
from recjobs.pipeline import BeamConfig


def doubled(factor: int, number: int) -> Record:
    if number == 3:
        raise NotArrivedError("three is not there", number=number)
    return {"result": factor * number}


def test_records_come_in_the_order_of_the_work(tmp_path: Path) -> None:
    records = run_pass(BeamConfig(), "double", [5, 1, 2], partial(doubled, 2), str(tmp_path))
    assert [record["result"] for record in records] == [10, 2, 4]


def test_an_error_keeps_its_class_and_details(tmp_path: Path) -> None:
    with pytest.raises(NotArrivedError, match="three is not there") as told:
        run_pass(BeamConfig(), "double", [1, 3], partial(doubled, 2), str(tmp_path))
    assert told.value.details == {"number": 3}


def test_no_work_is_no_fault(tmp_path: Path) -> None:
    assert run_pass(BeamConfig(), "double", [], partial(doubled, 2), str(tmp_path)) == []
