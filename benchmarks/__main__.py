"""`python -m benchmarks [NAME …]`: every benchmark in a process of its own, then one table (`make bench`).

Each module prints JSON lines `{"name", "ours", "yardstick", "ratio", "unit"}`; both figures are
taken in the same run, on the same machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

BENCHMARKS = {
    "extract": "Polars doing the same histories and counts",
    "retrieve_train": "the same steps on batches made beforehand, with the plain softmax where it is full",
    "retrieve_search": "bare search_batched_parallel on the same arrays",
    "rank_score": "bare model call on prepared batches",
    "publish": "bare binary COPY of the same rows and the key's index",
    "read": "the bare read of the same row by its primary key, under pgbench",
}


def main(names: list[str]) -> int:
    """Runs the named benchmarks, all by default; the exit code is 1 if one fails."""
    table = Table(title="benchmarks", title_justify="left")
    for header, justify in (("what", "left"), ("ours", "right"), ("yardstick", "right"), ("ratio", "right")):
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    table.add_column("unit")
    table.add_column("yardstick is")
    failed = []
    for name in names or list(BENCHMARKS):
        print(f"{name} …", file=sys.stderr)
        rows = _run(name)
        if not rows:
            failed.append(name)
        for row in rows:
            figures = (_figure(row["ours"]), _figure(row["yardstick"]), _figure(row["ratio"]))
            table.add_row(row["name"], *figures, row["unit"], BENCHMARKS[name])
    Console().print(table)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _run(name: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines] if done.returncode == 0 else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
