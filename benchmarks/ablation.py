"""`python -m benchmarks.ablation`: what each part of the towers is worth, each switched off alone, in one table.

On Amazon Beauty's validation item, or on the day before the one that the generated marketplace is judged on, there
with a ready-made vector and declared columns besides. The first row is the shipped config; every other one differs
from it by the settings of its part. Written after every training: what is cut off goes on where it was, and a row
whose training would be the same again is not trained again.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import marketplace
from benchmarks.quality.cache import code_of
from benchmarks.quality.cases import BEAUTY
from benchmarks.quality.enriched import DECLARED, enrich
from benchmarks.quality.measuring import Asked, measured
from benchmarks.quality.ours import TOWERS
from benchmarks.quality.parts import FULL, PARTS, TRAIN, Overrides, possible_parts
from benchmarks.quality.running import import_once, overrides_of, work_folder
from recjobs.cli.printing import log_progress, print_table
from recjobs.plan import load_plan, plan_run
from recjobs.settings import home, parse_overrides

logger = logging.getLogger("recjobs.quality")

MARKETPLACE = "marketplace"
WORLD = {"marketplace.users": 800, "marketplace.items": 600, "marketplace.days": 25, "marketplace.seed": 17}
"""One world for all seeds: what differs between seeds is the training alone."""
STEP = "retrieve/train"
MEASURED_BY = ("marketplace.py", "enriched.py", "blanking.py", "figures.py", "problem.py", "ranking.py", "ours.py")

Figures = dict[str, float]


@dataclass(frozen=True)
class Subject:
    """Data to ablate on. `plan` names the training of a seed, `measure` runs it; its first figure decides."""

    config: str
    plan: Callable[[int, Overrides], str]
    measure: Callable[[int, Overrides], Figures]
    common: Overrides = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A part's figures for one seed, and of which training and measuring code they are."""

    part: str
    seed: int
    run: str
    code: str
    figures: Figures


def main(arguments: Sequence[str]) -> int:
    """Measures the named parts, all by default, and prints, writes and draws one table."""
    chosen = _parser().parse_args(arguments)
    log_progress()
    subject = _subject(chosen.data, Path(chosen.source))
    common = {**subject.common, **parse_overrides(chosen.set)}
    common |= {f"{TRAIN}.epochs": chosen.epochs} if chosen.epochs else {}
    parts = possible_parts(subject.config, common, chosen.parts or list(PARTS))
    target = work_folder() / f"ablation-{chosen.name or chosen.data}.json"
    found: dict[str, dict[int, Figures]] = {}
    for name, overrides in parts.items():
        for seed in chosen.base_seeds if name == FULL else chosen.seeds:
            row = _remembered(target, subject, name, seed, overrides)
            found.setdefault(name, {})[seed] = row.figures
            logger.info("ablation on %s: %s, seed %d: %s", chosen.data, name, seed, row.figures)
    _show(chosen.data, target, found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--data", choices=[BEAUTY.name, MARKETPLACE], default=BEAUTY.name)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), metavar="PART", help=f"of: {'; '.join(PARTS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[17], help="of every part")
    parser.add_argument("--base-seeds", nargs="+", type=int, default=[17, 18], help="of the first row: the noise")
    parser.add_argument("--epochs", type=int, help="fewer than the config has, to be quicker")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for all rows")
    parser.add_argument("--source", default=str(home() / "../shared/data"), help="the folder of data sets")
    parser.add_argument("--name", help="of the JSON and PNG below work/quality; the data set's by default")
    return parser


# -- rows


def _remembered(target: Path, subject: Subject, part: str, seed: int, overrides: Overrides) -> Row:
    """The stored row of the same training and code, else a new one, which is stored at once."""
    run, code = subject.plan(seed, overrides), code_of(*MEASURED_BY)
    stored = stored_rows(target)
    for row in stored:
        if (row.seed, row.run, row.code) == (seed, run, code):
            return row
    made = Row(part, seed, run, code, subject.measure(seed, overrides))
    kept = [row for row in stored if (row.part, row.seed) != (part, seed)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps([asdict(row) for row in (*kept, made)], indent=1))
    return made


def stored_rows(target: Path) -> list[Row]:
    """What was measured before; nothing where nothing was."""
    return [Row(**row) for row in json.loads(target.read_text())] if target.is_file() else []


# -- data


def _subject(name: str, source: Path) -> Subject:
    if name == MARKETPLACE:
        return Subject(MARKETPLACE, _marketplace_run, marketplace_figures, {**WORLD, **DECLARED})
    import_once(BEAUTY, source / BEAUTY.source)
    return Subject(BEAUTY.config, _beauty_run, beauty_figures)


def _marketplace_run(seed: int, overrides: Overrides) -> str:
    uri, _ = marketplace.planned_world(seed, overrides, marketplace.VALIDATION, enrich)
    return load_plan(uri).steps[STEP].run


def marketplace_figures(seed: int, overrides: Overrides) -> Figures:
    """The towers alone on the day before the one that is judged."""
    world = marketplace.run_world(seed, overrides, marketplace.VALIDATION, until=STEP, prepare=enrich)
    return marketplace.tower_figures(world, seed)


def _beauty_run(seed: int, overrides: Overrides) -> str:
    case = BEAUTY.validation[0]
    return load_plan(plan_run(BEAUTY.config, case.ds, overrides_of(BEAUTY, case, seed, overrides))).steps[STEP].run


def beauty_figures(seed: int, overrides: Overrides) -> Figures:
    """The towers alone on the validation item."""
    asked = Asked(seeds=(seed,), overrides=overrides, baselines=())
    (row,) = (row.figures for row in measured(BEAUTY, BEAUTY.validation, asked) if row.method == TOWERS)
    wanted = [BEAUTY.chosen_by, *(measure for measure in BEAUTY.measures if measure != BEAUTY.chosen_by)]
    return {f"{name}@{k}" if k else name: row[name, k] for name, k in [*wanted, ("train_seconds", 0)]}


# -- the table


def _show(data: str, target: Path, found: Mapping[str, Mapping[int, Figures]]) -> None:
    from benchmarks.quality.ablation_picture import draw

    spread = noise(found[FULL])
    draw(target.with_suffix(".png"), data, differences(found), spread)
    told = ", ".join(f"{name} {value:.4f}" for name, value in spread.items() if name != "train_seconds")
    print_table(f"{data}: each part off alone ({target}). Noise of a difference: {told or 'unknown'}", *table(found))


def noise(by_seed: Mapping[int, Figures]) -> Figures:
    """The standard deviation of the difference of two trainings that differ by seed alone; empty for one seed."""
    several = list(by_seed.values())
    if len(several) < 2:
        return {}
    return {name: float(np.std([one[name] for one in several], ddof=1) * 2**0.5) for name in several[0]}


def differences(found: Mapping[str, Mapping[int, Figures]]) -> dict[str, Figures]:
    """Of each part but `FULL`: the mean over its seeds of what it has more than `FULL`.

    Of the same seed where `FULL` has it, else of the mean of all.
    """
    full, mean = found[FULL], _means(found[FULL])
    return {
        part: {
            name: float(np.mean([one[name] - full.get(seed, mean)[name] for seed, one in by_seed.items()]))
            for name in mean
        }
        for part, by_seed in found.items()
        if part != FULL
    }


def table(found: Mapping[str, Mapping[int, Figures]]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: the first figure's difference from `FULL`, in deviations of the noise too, then the means."""
    spread, less = noise(found[FULL]), differences(found)
    means = {name: _means(by_seed) for name, by_seed in found.items()}
    names = list(means[FULL])
    rows = []
    for part, row in means.items():
        difference = less[part][names[0]] if part in less else 0.0
        in_noise = difference / spread[names[0]] if spread.get(names[0]) else None
        rows.append([part, difference, in_noise, *(round(row[name], 5) for name in names)])
    return ["", f"{names[0]}, difference", "of noise", *names], rows


def _means(by_seed: Mapping[int, Figures]) -> Figures:
    several = list(by_seed.values())
    return {name: float(np.mean([figures[name] for figures in several])) for name in several[0]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
