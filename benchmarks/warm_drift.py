"""Whether drift says what is lost: towers of `benchmarks.warm_start`'s nights, left as they were or damaged, tested.

`python -m benchmarks.warm_drift [the arguments that benchmarks.warm_start had]`

Nothing is trained. A row each for towers trained in full the night before, for those of the first full training
carried on by id and never trained again, and for the last warm night's with noise on every weight, in deviations of
the weights. `lost` is the share of recall@K that fresh or undamaged towers have more on the same users and
events; `estimate` and `drift` are what the night would have told, with the first night's test as the reference.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.warm_report import FULL, WARM
from benchmarks.warm_start import EXTRACT, TRAIN, Bench, bench_of, finished
from recjobs.flow import STAGES
from recjobs.manifest import Manifest
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.blueprint import blueprint
from recjobs.retrieve.train.checkpoint import weights_of
from recjobs.retrieve.train.drift import LIFT, LIFT_ERROR, Foresight, drift_of, foresight
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.warm import carried_into, users_of

NOISE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5)


@dataclass(frozen=True)
class Row:
    """Towers tested on a day's events, beside others."""

    day: str
    towers: str
    seen: Foresight
    better: Foresight


def main(arguments: list[str]) -> int:
    """Tests and prints the table."""
    bench = bench_of(arguments)
    rows = [*_ageing(bench), *_damaged(bench)]
    Console(width=140).print(_table(rows))
    return 0


def _ageing(bench: Bench) -> Iterator[Row]:
    extracts, full = _nights(bench, EXTRACT), _nights(bench, FULL)
    for before, tonight, fresh in zip(extracts, extracts[1:], full, strict=False):
        one = _tested(bench, fresh, before, before, tonight)
        yield Row(str(tonight.ds), "full, of the night before", one, one)
        yield Row(str(tonight.ds), f"full, of {full[0].ds}", _tested(bench, full[0], extracts[0], before, tonight), one)


def _damaged(bench: Bench) -> Iterator[Row]:
    extracts, warm = _nights(bench, EXTRACT), _nights(bench, WARM)
    # Extracts begin a night before the warm chain does.
    last = min(len(warm), len(extracts) - 2)
    before, tonight = extracts[last], extracts[last + 1]
    model = _carried(bench, warm[last - 1], before, tonight)
    whole = {name: weight.numpy() for name, weight in weights_of(model).items()}
    random = np.random.default_rng(0)
    best = _foreseen(bench, model, before, tonight)
    for level in NOISE:
        for name, weight in weights_of(model).items():
            noise = random.standard_normal(whole[name].shape).astype(np.float32)
            weight.assign(whole[name] + level * whole[name].std() * noise)
        yield Row(str(tonight.ds), f"warm, noise {level:g}", _foreseen(bench, model, before, tonight), best)


def _nights(bench: Bench, name: str) -> list[Manifest]:
    """What there is of a chain, in order of its nights."""
    days = (bench.first + timedelta(days=number) for number in range(-1, bench.nights))
    found = (finished(bench.folder / "runs" / name, day) for day in days)
    return [one for one in found if one is not None]


def _tested(bench: Bench, trained: Manifest, its_extract: Manifest, before: Manifest, tonight: Manifest) -> Foresight:
    return _foreseen(bench, _carried(bench, trained, its_extract, tonight), before, tonight)


def _carried(bench: Bench, trained: Manifest, its_extract: Manifest, tonight: Manifest) -> TwoTower:
    tf.keras.utils.set_random_seed(bench.settings.seed)
    model = blueprint(tonight, bench.settings.view(STAGES[TRAIN].sections), tonight.ds).towers()
    carried_into(model, trained, its_extract, tonight)
    return model


def _foreseen(bench: Bench, model: TwoTower, before: Manifest, tonight: Manifest) -> Foresight:
    settings = bench.settings.view(STAGES[TRAIN].sections)
    return foresight(model, users_of(model, before, tonight), before, tonight, tonight.ds, settings)


def _table(rows: list[Row]) -> Table:
    table = Table(title="what drift says of towers that are worse")
    for header in ("day", "towers", "users", "recall", "popular", "lost", "estimate", "drift"):
        table.add_column(header, justify="left" if header in ("day", "towers") else "right")
    reference = {"warm_nights": 1.0, LIFT: rows[0].seen.lift, LIFT_ERROR: rows[0].seen.error}
    for row in rows:
        said = drift_of(row.seen, reference)
        figures = (
            f"{row.seen.recall:.4f}",
            f"{row.seen.popular:.4f}",
            f"{1 - row.seen.recall / row.better.recall:+.3f}",
        )
        told = (f"{said['drift_estimate']:+.3f}", f"{said['drift']:.3f}")
        table.add_row(row.day, row.towers, str(row.seen.users), *figures, *told)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
