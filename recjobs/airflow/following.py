"""Follows a run in another process by its log: a few lines for the console, all of it for files.

Airflow, run in one process, prints its log and keeps no file for each task. The UI looks for these
files, so the lines of a task go where it looks.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

_STARTING = re.compile(r"\[DAG TEST\] running task <TaskInstance: (?P<dag>[^.]+)\.(?P<task>\S+) (?P<run>\S+) ")
_OURS = re.compile(r"recjobs\.|.*nightly_recommendations$")


class Follower:
    """Prints our own lines and every failure; writes each task's lines below `logs`, the rest to `everything`."""

    def __init__(self, console: Console, logs: Path, everything: Path) -> None:
        self._console = console
        self._logs = logs
        self._everything = everything
        self._task_log = everything
        self._attempts = Counter[str]()

    def follow(self, lines: Iterable[str]) -> None:
        """Reads lines until there are no more. A line that is no JSON record is kept and not printed."""
        self._everything.parent.mkdir(parents=True, exist_ok=True)
        for line in lines:
            record = _record(line)
            if started := _STARTING.match(record.get("event", "")):
                self._begin_task(**started.groupdict())
            self._keep(line, is_record=bool(record))
            self._print(record)

    def _begin_task(self, dag: str, task: str, run: str) -> None:
        folder = self._logs / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task}"
        folder.mkdir(parents=True, exist_ok=True)
        self._attempts[str(folder)] += 1
        self._task_log = folder / f"attempt={self._attempts[str(folder)]}.log"
        self._console.print(task, style="bold")

    def _keep(self, line: str, *, is_record: bool) -> None:
        for file in {self._everything, self._task_log} if is_record else {self._everything}:
            with file.open("a") as stream:
                stream.write(line)

    def _print(self, record: dict[str, Any]) -> None:
        event = record.get("event", "")
        if record.get("level") in ("error", "critical"):
            self._console.print(
                f"  {event}{_reasons(record)}", style="red", markup=False, highlight=False, soft_wrap=True
            )
        elif _OURS.match(record.get("logger", "")):
            self._console.print(f"  {event}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _reasons(record: dict[str, Any]) -> str:
    """What was raised, the first cause last; the whole traceback is in the log."""
    return "".join(f"\n    {raised['exc_type']}: {raised['exc_value']}" for raised in record.get("exception", ()))
