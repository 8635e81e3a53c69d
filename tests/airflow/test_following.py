"""Following a run by its log: what the console shows, and the files the UI finds."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from recjobs.airflow.following import Follower

RUN = "manual__2026-11-22T00:00:01+00:00"


def line(event: str, logger: str = "airflow.something", level: str = "info", **more: Any) -> str:
    return json.dumps({"event": event, "logger": logger, "level": level, **more}) + "\n"


def starting(task: str) -> str:
    return line(f"[DAG TEST] running task <TaskInstance: nightly_recommendations.{task} {RUN} [scheduled] ti_id=1>")


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def follower(tmp_path: Path, screen: io.StringIO) -> Follower:
    return Follower(Console(file=screen, width=60), tmp_path / "logs", tmp_path / "everything.log")


def task_log(folder: Path, task: str, attempt: int = 1) -> list[str]:
    file = (
        folder
        / "logs"
        / "dag_id=nightly_recommendations"
        / f"run_id={RUN}"
        / f"task_id={task}"
        / f"attempt={attempt}.log"
    )
    return [json.loads(text)["event"] for text in file.read_text().splitlines()]


def test_the_console_shows_tasks_and_our_own_lines(follower: Follower, screen: io.StringIO) -> None:
    long = "many words, " * 12 + "not wrapped"
    follower.follow([starting("extract"), line(long, "recjobs.stages"), line("Pushing xcom", "task")])
    assert screen.getvalue().splitlines() == ["extract", f"  {long}"]


def test_a_failure_is_shown_with_what_raised_it(follower: Follower, screen: io.StringIO) -> None:
    raised = [{"exc_type": "AirflowFailException", "exc_value": "GateRefusedError: no [lists]", "frames": []}]
    follower.follow([line("Task failed with exception", "task", "error", exception=raised)])
    assert "Task failed with exception" in screen.getvalue()
    assert "AirflowFailException: GateRefusedError: no [lists]" in screen.getvalue()


def test_each_task_and_each_try_has_its_file_and_one_file_has_all(follower: Follower, tmp_path: Path) -> None:
    publish = [starting("publish"), line("one"), starting("publish"), line("two")]
    lines = [line("before"), starting("plan"), line("planned"), *publish]
    follower.follow(lines)
    assert task_log(tmp_path, "plan")[1:] == ["planned"]
    assert task_log(tmp_path, "publish", 1)[1:] == ["one"]
    assert task_log(tmp_path, "publish", 2)[1:] == ["two"]
    assert (tmp_path / "everything.log").read_text() == "".join(lines)


def test_what_is_no_record_is_kept_and_not_shown(follower: Follower, screen: io.StringIO, tmp_path: Path) -> None:
    follower.follow([starting("plan"), "Segmentation fault\n", "42\n"])
    assert screen.getvalue() == "plan\n"
    assert (tmp_path / "everything.log").read_text().endswith("Segmentation fault\n42\n")
