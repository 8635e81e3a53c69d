"""`python -m benchmarks.quality`: retrieval on real data beside baselines, and on the generated marketplace."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality import marketplace
from benchmarks.quality.cases import DATA_SETS, DataSet
from benchmarks.quality.measuring import EXTRACT, Asked, Measured, measured
from benchmarks.quality.problem import load_problem
from benchmarks.quality.report import print_summaries, summaries, write_json
from benchmarks.quality.running import COMPOSE, SEARCH, import_once, run_case, settings_of, work_folder
from benchmarks.quality.tuning import SEED, tune
from recjobs.cli.printing import log_progress
from recjobs.settings import home, parse_overrides

logger = logging.getLogger("recjobs.quality")

SHARED = "../shared/data"
MARKETPLACE = "marketplace"
UNTIL = {"search": SEARCH, "compose": COMPOSE}


def main(arguments: Sequence[str]) -> int:
    """Measures what is asked for, all by default. A data set that is not there is left out, and said so."""
    chosen = _parser().parse_args(arguments)
    log_progress()
    overrides = parse_overrides(chosen.set)
    for name in chosen.data or [*DATA_SETS, MARKETPLACE]:
        if name == MARKETPLACE:
            marketplace.main(chosen.seeds[0], overrides, UNTIL[chosen.until])
            continue
        data_set, source = DATA_SETS[name], Path(chosen.source) / DATA_SETS[name].source
        if not source.exists():
            logger.warning("%s: left out, %s is not there; --source names the folder of data sets", name, source)
            continue
        import_once(data_set, source)
        if chosen.tune:
            _tune(data_set, chosen.baselines or data_set.baselines)
        else:
            _measure(data_set, chosen, overrides)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", nargs="+", choices=[*DATA_SETS, MARKETPLACE], help="all by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[17, 18, 19])
    parser.add_argument("--protocol", nargs="+", help="protocols or single cases, such as published or 2011-09-05")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of ours")
    parser.add_argument("--until", choices=UNTIL, default="search", help="compose also judges finished lists")
    parser.add_argument("--baselines", nargs="*", help="which ones; none where no name follows")
    parser.add_argument("--no-ours", action="store_true", help="baselines alone")
    parser.add_argument("--tune", action="store_true", help="choose the baselines' parameters on validation cases")
    parser.add_argument("--source", default=str(home() / SHARED), help="the folder of data sets")
    parser.add_argument("--name", help="of the JSON and PNG below work/quality; the data set's by default")
    return parser


def _tune(data_set: DataSet, baselines: Sequence[str]) -> None:
    problems = []
    for case in data_set.validation:
        extract = run_case(data_set, case, SEED, {}, EXTRACT)[EXTRACT]
        problems.append(load_problem(extract, settings_of(data_set, case, SEED, {}), case))
    tune(data_set, problems, baselines)


def _measure(data_set: DataSet, chosen: argparse.Namespace, overrides: dict[str, object]) -> None:
    from benchmarks.quality.picture import draw

    cases = [
        case for case in data_set.cases if not chosen.protocol or {case.name, case.protocol} & set(chosen.protocol)
    ]
    asked = Asked(
        seeds=tuple(chosen.seeds),
        overrides=overrides,
        until=UNTIL[chosen.until],
        baselines=None if chosen.baselines is None else tuple(chosen.baselines),
        ours=not chosen.no_ours,
    )
    rows: list[Measured] = []
    for row in measured(data_set, cases, asked):
        rows.append(row)
        _tell(data_set, row)
    found, name = summaries(rows), chosen.name or data_set.name
    write_json(work_folder() / f"{name}.json", data_set, found, overrides)
    draw(work_folder() / f"{name}.png", data_set, found)
    print_summaries(data_set, found)
    logger.info("written: %s.json and .png", work_folder() / name)


def _tell(data_set: DataSet, row: Measured) -> None:
    measure, k = data_set.chosen_by
    value = row.figures[data_set.chosen_by]
    logger.info("%s %s: %s, seed %d, %s@%d %.4f", data_set.name, row.case.name, row.method, row.seed, measure, k, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
