"""How commands print: tables for people, JSON for scripts, progress and errors on stderr."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

output = Console()
progress = Console(stderr=True)


def log_progress() -> None:
    """Sends our own progress lines to stderr, with the time."""
    handler = RichHandler(console=progress, show_path=False, show_level=False, markup=False, log_time_format="%H:%M:%S")
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("recjobs")
    ours.handlers = [handler]
    ours.setLevel(logging.INFO)
    ours.propagate = False


def print_json(value: Any) -> None:
    """`value` as JSON on stdout; what is no JSON type as text."""
    output.print_json(json.dumps(value, default=str))


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A table; numbers are aligned right, missing values shown as a dash."""
    table = Table(title=title, title_justify="left")
    cells = [list(row) for row in rows]
    for position, name in enumerate(header):
        numeric = all(isinstance(row[position], int | float) or row[position] is None for row in cells)
        table.add_column(name, justify="right" if numeric and cells else "left", overflow="fold")
    for row in cells:
        table.add_row(*(_cell(value) for value in row))
    output.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
