"""`python -m benchmarks.quality [NAME …]`: finished lists on real data, judged by full ranking (`make quality`).

Each data set is imported, the real stages run up to `compose`, and the lists are judged on the days
after their date beside popularity, in the same run, with the seed of the shipped config. The rows
are written as JSON below work/quality. A data set that is not beside the checkout is left out, and
said so. Further baselines and the other cutoffs are a later issue.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from recjobs.cli.judge import side_by_side
from recjobs.cli.printing import log_progress, print_table
from recjobs.evaluate.judging import judge
from recjobs.evaluate.outcomes import outcomes_from_sources
from recjobs.manifest import load
from recjobs.plan import load_plan, plan_run
from recjobs.settings import home, load_settings
from recjobs.sources.online_retail import import_online_retail
from recjobs.sources.sequences import LAST_DATE, import_sequences
from recjobs.stages import run_step

DATA = Path("../shared/data")
KINDS = ("events", "items", "users")


@dataclass(frozen=True)
class DataSet:
    """A real data set: where it is, how it is imported, and the date whose lists are judged."""

    source: Path
    importer: Callable[[Path, str], Any]
    ds: date
    days: int


DATA_SETS = {
    "online-retail": DataSet(DATA / "online-retail" / "by-day", import_online_retail, date(2011, 10, 24), 7),
    # Leave one out, final fit: trained on all but everybody's last item.
    "sequences": DataSet(DATA / "amazon-beauty" / "sequences.txt", import_sequences, LAST_DATE - timedelta(days=1), 1),
}


def main(names: list[str]) -> int:
    """Measures the named data sets, all by default; exit code 0 also when one is not there."""
    log_progress()
    for name in names or list(DATA_SETS):
        data_set = DATA_SETS[name]
        source = home() / data_set.source
        if not source.exists():
            Console().print(f"{name}: left out, {source} is not there", style="yellow")
            continue
        rows = measure(name, data_set, source)
        target = home() / "work" / "quality" / f"{name}.json"
        target.write_text(json.dumps(rows, indent=2))
        header, cells = side_by_side(rows)
        print_table(
            f"{name}: lists of {data_set.ds}, judged on the {data_set.days} days after ({target})", header, cells
        )
    return 0


def measure(name: str, data_set: DataSet, source: Path) -> list[dict[str, Any]]:
    """Metric rows of the finished lists of one data set."""
    folder = home() / "work" / "quality" / name
    data_set.importer(source, str(folder / "data"))
    configured = load_settings(name)
    sections = [kind for kind in KINDS if getattr(configured, kind) is not None]
    overrides = {
        "root": str(folder / "artefacts"),
        **{f"{kind}.path": str(folder / "data" / kind) for kind in sections},
    }
    plan_uri = plan_run(name, data_set.ds, overrides)
    plan = load_plan(plan_uri)
    for step in plan.steps:
        run_step(plan_uri, step)
        if step == "compose":
            break
    settings, until = load_settings(name, overrides), data_set.ds + timedelta(days=data_set.days)
    lists, states = (load(plan.steps[step].manifest_uri) for step in ("compose", "extract"))
    return judge(lists, states, outcomes_from_sources(settings, data_set.ds, until), settings, until)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
