"""`python -m benchmarks.ablation`: what each part of the towers is worth, each switched off alone, in one table.

On Amazon Beauty's validation item, or on the generated marketplace's next day. The first row is the shipped
config; every other one differs from it by the settings of its part. A part whose setting already has that value,
or is of an event type that the data lacks, is told and left out.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import marketplace
from benchmarks.quality.blanking import WITHOUT_ID
from benchmarks.quality.cases import BEAUTY, DataSet
from benchmarks.quality.measuring import Asked, measured
from benchmarks.quality.ours import TOWERS
from benchmarks.quality.running import import_once, work_folder
from recjobs.cli.printing import log_progress, print_table
from recjobs.errors import SettingsError
from recjobs.settings import Settings, home, load_settings, parse_overrides

logger = logging.getLogger("recjobs.quality")

MARKETPLACE = "marketplace"
FULL = "as shipped"
TRAIN = "retrieve.train"

Overrides = Mapping[str, Any]
Figures = dict[str, float]

PARTS: dict[str, Overrides] = {
    "no item content (no snapshot)": {"items": None},
    "no declared texts": {"items.text": [], "items.static": lambda config: _static_without_texts(config)},
    "no activity of the user": {f"{TRAIN}.activity": False},
    "other way round: user embedding": {f"{TRAIN}.user_embedding": True},
    "no user embedding": {f"{TRAIN}.user_embedding": False},
    "no unknown-id dropout": {f"{TRAIN}.unknown_id_dropout": 0.0},
    "unknown-id dropout 0.1": {f"{TRAIN}.unknown_id_dropout": 0.1},
    "random start": {f"{TRAIN}.start": "random"},
    "one vector of an item, in histories too": {f"{TRAIN}.history_embedding": False},
    "random start, one vector of an item": {f"{TRAIN}.start": "random", f"{TRAIN}.history_embedding": False},
    "latest window of a user alone": {f"{TRAIN}.windows_per_user": 1},
    "targets: next event": {f"{TRAIN}.targets": "next_event"},
    "targets: next day": {f"{TRAIN}.targets": "next_day"},
    "every target of a day alike": {f"{TRAIN}.crowding": 0.0},
    "no half-life of targets": {f"{TRAIN}.half_life_days": None},
    "event weights all 1": {"events.types.cart.weight": 1.0, "events.types.purchase.weight": 1.0},
    "in-batch and sampled negatives": {f"{TRAIN}.objective": "sampled"},
    "… without logQ": {f"{TRAIN}.objective": "sampled", f"{TRAIN}.logq": False},
    "in-batch negatives alone": {f"{TRAIN}.objective": "sampled", f"{TRAIN}.sampled_negatives": 0},
    "no full softmax (by size)": {f"{TRAIN}.full_softmax_below": 0},
    "temperature × 2": {f"{TRAIN}.temperature": lambda config: 2 * config.retrieve.train.temperature},
    "temperature / 2": {f"{TRAIN}.temperature": lambda config: config.retrieve.train.temperature / 2},
    "dot product, no temperature": {f"{TRAIN}.similarity": "dot", f"{TRAIN}.temperature": 1.0},
    "encoder: mean": {f"{TRAIN}.encoder": "mean"},
    "encoder: gru": {f"{TRAIN}.encoder": "gru"},
    "one block": {f"{TRAIN}.blocks": 1},
    "no dropout": {f"{TRAIN}.dropout": 0.0},
}
"""What is switched off, and by which settings; a function makes a value from the config's own settings."""


@dataclass(frozen=True)
class Subject:
    """Data to ablate on. `measure` gives the figures of one seed, the first of which decides."""

    config: str
    measure: Callable[[int, Overrides], Figures]


def main(arguments: Sequence[str]) -> int:
    """Measures the named parts, all by default, and prints and writes one table."""
    chosen = _parser().parse_args(arguments)
    log_progress()
    common = parse_overrides(chosen.set) | ({f"{TRAIN}.epochs": chosen.epochs} if chosen.epochs else {})
    subject = _subject(chosen.data, Path(chosen.source))
    parts = possible_parts(subject.config, common, chosen.parts or list(PARTS))
    found = {}
    for name, overrides in parts.items():
        logger.info("ablation on %s: %s", chosen.data, name)
        found[name] = [subject.measure(seed, overrides) for seed in chosen.seeds]
        logger.info("ablation on %s: %s: %s", chosen.data, name, _means(found[name]))
    target = work_folder() / f"ablation-{chosen.data}.json"
    target.write_text(json.dumps({"overrides": common, "seeds": chosen.seeds, "parts": found}, indent=1))
    print_table(f"{chosen.data}: each part off alone ({target})", *table(found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--data", choices=[BEAUTY.name, MARKETPLACE], default=BEAUTY.name)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), metavar="PART", help=f"of: {'; '.join(PARTS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[17])
    parser.add_argument("--epochs", type=int, help="fewer than the config has, to be quicker")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="for all rows")
    parser.add_argument("--source", default=str(home() / "../shared/data"), help="the folder of data sets")
    return parser


def possible_parts(config: str, common: Overrides, names: Sequence[str]) -> dict[str, Overrides]:
    """`FULL`, then each of the named parts that changes the settings of `config`; why another doesn't is logged."""
    base = load_settings(config, common)
    parts: dict[str, Overrides] = {FULL: common}
    for name in names:
        values = {**common, **{key: value(base) if callable(value) else value for key, value in PARTS[name].items()}}
        try:
            changed = load_settings(config, values) != base
        except SettingsError as error:
            if not _is_unknown(error):
                raise
            logger.warning("%s: left out, %s", name, str(error).splitlines()[-1].split(" Known")[0].strip())
            continue
        if changed:
            parts[name] = values
        else:
            logger.warning("%s: left out, the config has it so", name)
    return parts


def _static_without_texts(config: Settings) -> list[str]:
    items = config.items
    return [name for name in items.static if name not in items.text] if items else []


def _is_unknown(error: SettingsError) -> bool:
    """Whether the setting does not exist: an event type that the data lacks has no task when only its weight is set."""
    return "unknown key" in str(error) or "Field required" in str(error)


def _subject(name: str, source: Path) -> Subject:
    if name == MARKETPLACE:
        return Subject(MARKETPLACE, marketplace_figures)
    import_once(BEAUTY, source / BEAUTY.source)
    return Subject(BEAUTY.config, lambda seed, overrides: validation_figures(BEAUTY, seed, overrides))


def validation_figures(data_set: DataSet, seed: int, overrides: Overrides) -> Figures:
    """The towers alone on the validation cases, averaged."""
    asked = Asked(seeds=(seed,), overrides=overrides, baselines=())
    rows = [row.figures for row in measured(data_set, data_set.validation, asked) if row.method == TOWERS]
    wanted = [data_set.chosen_by, *(measure for measure in data_set.measures if measure != data_set.chosen_by)]
    wanted.append(("train_seconds", 0))
    return {f"{name}@{k}" if k else name: float(np.mean([row[name, k] for row in rows])) for name, k in wanted}


def marketplace_figures(seed: int, overrides: Overrides) -> Figures:
    """The towers alone, by group of users and items; of warm ids also what is kept without the id."""
    rows = marketplace.measure(seed, overrides)
    figures = {row.group: row.recall for row in rows if row.method == TOWERS}
    kept = [row for row in rows if row.method == WITHOUT_ID and row.of is not None]
    return figures | {f"{row.group}: share kept without id": float(row.of or 0) for row in kept}


def table(found: Mapping[str, Sequence[Figures]]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: the means over seeds, and the first figure's difference from `FULL`."""
    means = {name: _means(several) for name, several in found.items()}
    names = list(means[FULL])
    rows = [[name, row[names[0]] - means[FULL][names[0]], *(row[one] for one in names)] for name, row in means.items()]
    return ["", f"{names[0]}, difference", *names], rows


def _means(several: Sequence[Figures]) -> Figures:
    return {name: round(float(np.mean([figures[name] for figures in several])), 5) for name in several[0]}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
