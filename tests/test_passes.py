"""Passes over shards on Beam: order, one preparation per worker, errors with their own class."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recjobs import passes
from recjobs.errors import CorruptFileError, ModelError, NotArrivedError, RecjobsError
from recjobs.passes import combined, ready, run_pass
from recjobs.pipeline import BeamConfig

LOCAL = BeamConfig()


def doubled(number: int) -> int:
    return 2 * number


def counting(folder: Path) -> Callable[[int], int]:
    """`doubled`, prepared: leaves a file for each preparation."""
    (folder / f"prepared-{len(list(folder.iterdir()))}").touch()
    return doubled


def failing(kind: type[Exception], failing_from: int, number: int) -> int:
    if number < failing_from:
        return number
    if issubclass(kind, RecjobsError):
        raise kind(f"{number} is bad", number=number, shard=f"part-{number}")
    raise kind(f"{number} is bad")


def unprepared() -> Callable[[int], int]:
    raise ModelError("no tower there", uri="towers/7")


def total(parts: Iterable[int]) -> int:
    return sum(parts)


def refusing(parts: Iterable[int]) -> int:
    raise CorruptFileError("does not add up", parts=sum(parts))


def test_results_come_in_the_order_of_the_work_and_the_scratch_folder_goes(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    work = [(37 * number) % 101 for number in range(50)]
    assert run_pass(LOCAL, "double", work, ready(doubled), str(scratch)) == [2 * number for number in work]
    assert not scratch.exists()


def test_the_order_is_ours_whatever_the_runner_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(config: Any, name: str, work: Any, prepare: Any, combine: Any, scratch: str) -> Any:
        del config, name, scratch
        function = prepare()
        return combine([function(element) for element in reversed(work)])

    monkeypatch.setattr(passes, "combined", backwards)
    assert run_pass(LOCAL, "double", [5, 1, 2], ready(doubled), str(tmp_path)) == [10, 2, 4]


def test_equal_elements_and_results_that_are_none_count_each(tmp_path: Path) -> None:
    assert run_pass(LOCAL, "nothing", ["x", "x"], ready(partial(dict.get, {})), str(tmp_path)) == [None, None]


def test_no_work_is_no_fault(tmp_path: Path) -> None:
    assert run_pass(LOCAL, "double", [], unprepared, str(tmp_path)) == []


def test_a_worker_prepares_once(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    run_pass(LOCAL, "double", range(20), partial(counting, prepared), str(tmp_path / "scratch"))
    assert len(list(prepared.iterdir())) == 1


def test_the_first_elements_error_keeps_its_class_message_and_details(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(NotArrivedError, match=r"^5 is bad$") as told:
        run_pass(LOCAL, "fail", [1, 5, 3, 4], ready(partial(failing, NotArrivedError, 3)), str(scratch))
    assert told.value.details == {"number": 5, "shard": "part-5"}
    assert not scratch.exists()


def test_an_error_of_preparing_keeps_its_class_message_and_details(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^no tower there$") as told:
        run_pass(LOCAL, "load", [1, 2], unprepared, str(tmp_path))
    assert told.value.details == {"uri": "towers/7"}


def test_another_error_arrives_as_such(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    with pytest.raises(ValueError, match="3 is bad"):
        run_pass(LOCAL, "fail", [1, 3], ready(partial(failing, ValueError, 3)), str(scratch))
    assert not scratch.exists()


@pytest.mark.parametrize("count", [1, 2, 300])
def test_results_add_up_to_one(tmp_path: Path, count: int) -> None:
    scratch = tmp_path / "scratch"
    found = combined(LOCAL, "add", range(count), ready(doubled), total, str(scratch))
    assert found == count * (count - 1)
    assert not scratch.exists()


def test_an_error_is_not_combined_away(tmp_path: Path) -> None:
    """The last of 40: what came before it has been combined by then."""
    with pytest.raises(CorruptFileError, match="39 is bad"):
        combined(LOCAL, "add", range(40), ready(partial(failing, CorruptFileError, 39)), total, str(tmp_path))


def test_an_error_of_combining_keeps_its_class_and_details(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="does not add up") as told:
        combined(LOCAL, "add", [1, 2], ready(doubled), refusing, str(tmp_path))
    assert told.value.details == {"parts": 6}


def test_a_pass_tells_its_parts_and_duration(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "recjobs"):
        run_pass(LOCAL, "double", [1, 2], ready(doubled), str(tmp_path))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "recjobs.passes"]
    assert line.startswith("double: 2 parts in ")


def test_beam_comes_late_and_quietly(tmp_path: Path) -> None:
    """The log of a stage is what an operator reads; Beam warns at import that a client we don't use is missing."""
    script = f"""
import logging, sys
logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
from recjobs.passes import ready, run_pass
from recjobs.pipeline import BeamConfig
assert "apache_beam" not in sys.modules
assert run_pass(BeamConfig(), "length", ["ab"], ready(len), {str(tmp_path)!r}) == [2]
logging.warning("others are heard")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "WARNING:root:others are heard\n"
    assert done.stderr == ""
