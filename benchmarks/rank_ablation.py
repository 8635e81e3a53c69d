"""`python -m benchmarks.rank_ablation`: what each group of the ranker's features is worth, each off alone.

On finished lists of a real data set. Candidates are made once; of each row only the ranker is trained anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.quality.cases import DATA_SETS, DataSet
from benchmarks.quality.measuring import Asked, measured
from benchmarks.quality.ours import FINISHED
from benchmarks.quality.running import COMPOSE, import_once, work_folder
from recjobs import columns
from recjobs.cli.printing import log_progress, print_table
from recjobs.settings import home, parse_overrides

logger = logging.getLogger("recjobs.quality")

ALL = "all features"
GROUPS: dict[str, list[str]] = {
    ALL: [],
    "user": ["user:*"],
    "item": ["item:*"],
    "item counts and trends": ["item:log_count_*", "item:trend_*", "item:share_*"],
    "retrieval": [
        *(f"pair:{name}" for name in ("retrieval_*", "*rank", "filled")),
        *(f"pair:*_{source}" for source in columns.SCORED_SOURCES),
    ],
    "relations": [f"pair:*{name}_*" for name in ("near", "next", "together", "linked", "alike")],
    "history with the item": [f"pair:{name}" for name in ("*pair_*", "never_had*", "*visit*", "last_item")],
    "rhythm of visits": [
        *(f"user:{name}" for name in ("log_visits", "log_basket", "explorer_rate", "log_interval", "user_due")),
        *(f"pair:{name}" for name in ("never_had*", "*visit*", "pair_due", "pair_decayed_*", "log_pair_days")),
    ],
    "price": ["pair:price_*", "user:usual_price*", "item:*price*"],
    "category and brand": ["pair:*category*", "pair:*brand*", "item:category", "item:brand"],
    "context": ["pair:last_*", "pair:category_cross"],
}
"""The patterns of `rank.train.ignored_features` that switch each group off."""


def main(arguments: Sequence[str]) -> int:
    """Measures the groups asked for, all by default, and prints and writes one table."""
    chosen = _parser().parse_args(arguments)
    log_progress()
    data_set = DATA_SETS[chosen.data]
    import_once(data_set, Path(chosen.source) / data_set.source)
    found = {name: _figures(data_set, name, chosen) for name in dict.fromkeys([ALL, *(chosen.groups or GROUPS)])}
    target = work_folder() / f"rank-ablation-{data_set.name}.json"
    target.write_text(json.dumps(found, indent=1))
    header = ["without", *found[ALL]]
    rows = [[name, *(round(value, 4) for value in figures.values())] for name, figures in found.items()]
    print_table(f"{data_set.name}: finished lists, each group of features off alone ({target})", header, rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rank_ablation", description=__doc__)
    parser.add_argument("--data", choices=DATA_SETS, default="online-retail")
    parser.add_argument("--cases", nargs="+", help="names of cases; the validation cases by default")
    parser.add_argument("--groups", nargs="+", choices=list(GROUPS), metavar="GROUP", help=f"of: {'; '.join(GROUPS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[17])
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for all rows")
    parser.add_argument("--source", default=str(home() / "../shared/data"), help="the folder of data sets")
    return parser


def _figures(data_set: DataSet, group: str, chosen: argparse.Namespace) -> dict[str, float]:
    """Means over cases and seeds of the data set's measures."""
    cases = [case for case in (*data_set.validation, *data_set.cases) if _is_asked(data_set, case.name, chosen.cases)]
    overrides = {**parse_overrides(chosen.set), "rank.train.ignored_features": GROUPS[group]}
    asked = Asked(seeds=tuple(chosen.seeds), overrides=overrides, until=COMPOSE, baselines=(), peer=False)
    rows = [row.figures for row in measured(data_set, cases, asked) if row.method == FINISHED]
    figures = {f"{name}@{k}": float(np.mean([row[name, k] for row in rows])) for name, k in data_set.measures}
    logger.info("%s without %s: %s", data_set.name, group, figures)
    return figures


def _is_asked(data_set: DataSet, name: str, asked: Sequence[str] | None) -> bool:
    return name in asked if asked else name in {case.name for case in data_set.validation}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
