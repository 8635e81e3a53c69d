"""Nights of the generated marketplace, each trained in full and warm: recall on the next day, cost, drift.

`python -m benchmarks.warm_start [--nights 14] [--users 4000] [--set key=value …] [--out FOLDER]`

Both chains start from one full training. Every night the real `extract` runs, then `retrieve/train`
twice: in full, and carried on from the warm chain's night before. Both pairs of towers rank the
whole catalogue for every user; recall@K counts the next day's items among the first K, items with a
training event and new ones told apart. The warm chain is never cut by `full_every` or
`drift_limit`, so that the drift they bound is seen.
JSON and a picture go below `work/warm-start`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console
from rich.table import Table

from recjobs import columns as c
from recjobs import manifest, storage
from recjobs.evaluate.outcomes import outcomes_from_sources
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.settings import Settings, home, load_settings, parse_overrides
from recjobs.sources.marketplace.generation import generate
from recjobs.sources.pinning import pin_sources

EXTRACT, TRAIN = "extract", "retrieve/train"
SECTIONS = {EXTRACT: ("time", "items", "users", "beam", "extract"), TRAIN: ("retrieve", "items", "users", "beam")}
LAST = date(2026, 6, 30)
"""The day that the last night's lists are judged on."""
_USERS_A_BLOCK = 2048


@dataclass(frozen=True)
class Judged:
    """What one pair of towers did: recall@K of the next day, and what the training cost."""

    recall: float
    recall_seen: float
    """On items that had an event."""
    recall_new: float
    """On items that had none."""
    recall_first: float
    """On items that had their first events on the training's last day."""
    users: int
    training: float
    """Seconds in the training loop."""
    stage: float
    """CPU seconds of the whole stage, reading, drift and export included."""
    steps: int


@dataclass(frozen=True)
class Night:
    """One night of both chains."""

    ds: str
    full: Judged
    warm: Judged
    warm_nights: int
    metrics: dict[str, float]
    notes: tuple[str, ...]

    @property
    def loss(self) -> float:
        """The share of the full training's recall that the warm one lacks; negative where it has more."""
        return 1 - self.warm.recall / self.full.recall

    @property
    def cost(self) -> float:
        """The warm night's training as a share of the full one's."""
        return self.warm.training / self.full.training


def main(arguments: list[str]) -> int:
    """Measures, prints the table, writes JSON and picture; the exit code is 0 whatever the figures are."""
    options = _options(arguments)
    folder = Path(options.out) if options.out else home() / "work" / "warm-start"
    settings = _settings(options, folder)
    first = LAST - timedelta(days=options.nights)
    _generate(settings, folder, options.nights)
    nights = _measure(settings, folder, first, options.nights, options.k)
    written = _write(nights, settings, options, folder)
    Console().print(_table(nights, options.k))
    Console().print(written["summary"])
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_start", description=__doc__)
    parser.add_argument("--nights", type=int, default=14, help="nights after the first full training")
    parser.add_argument("--users", type=int, help="users of the marketplace; those of its config by default")
    parser.add_argument("--items", type=int, help="items of the marketplace")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], help="a setting, e.g. retrieve.train.warm_share=0.1")
    parser.add_argument("--out", help="folder for data, artefacts and results; work/warm-start by default")
    return parser.parse_args(arguments)


def _settings(options: argparse.Namespace, folder: Path) -> Settings:
    sizes = {f"marketplace.{name}": getattr(options, name) for name in ("users", "items") if getattr(options, name)}
    paths = {f"{kind}.path": str(folder / "data" / kind) for kind in ("events", "items", "users")}
    overrides = {"root": str(folder / "artefacts"), **paths, **sizes, **parse_overrides(options.set)}
    return load_settings("marketplace", overrides)


def _generate(settings: Settings, folder: Path, nights: int) -> None:
    assert settings.marketplace is not None
    market = settings.marketplace.model_copy(update={"days": settings.marketplace.days + nights + 1})
    generate(market, str(folder / "data"), LAST, keep=True)


def _measure(settings: Settings, folder: Path, first: date, nights: int, k: int) -> list[Night]:
    runs = folder / "runs"
    extract = _extract(settings, runs, first - timedelta(days=1))
    warm, _ = _train(settings, runs / "full", {EXTRACT: extract})
    found = []
    for number in range(nights):
        ds = first + timedelta(days=number)
        before, extract = {f"previous/{EXTRACT}": extract, f"previous/{TRAIN}": warm}, _extract(settings, runs, ds)
        full, full_seconds = _train(settings, runs / "full", {EXTRACT: extract})
        warm, warm_seconds = _train(settings, runs / "warm", {EXTRACT: extract, **before})
        truth = _truth(settings, extract, before[f"previous/{EXTRACT}"])
        night = Night(
            str(ds),
            _judged(extract, full, truth, k, full_seconds),
            _judged(extract, warm, truth, k, warm_seconds),
            int(warm.metrics["warm_nights"]),
            # A night that could not be carried on was trained in full, and has no estimate.
            {"drift_estimate": 0.0} | warm.metrics,
            warm.notes,
        )
        print(
            f"{ds}: full {night.full.recall:.4f}, warm {night.warm.recall:.4f}, cost {night.cost:.2f}", file=sys.stderr
        )
        found.append(night)
    return found


def _extract(settings: Settings, runs: Path, ds: date) -> Manifest:
    """The night's extract, made unless it is there."""
    from recjobs.extract.stage import run

    target = str(runs / EXTRACT / str(ds))
    uri = storage.join(target, manifest.MANIFEST_NAME)
    if not storage.exists(uri):
        cutoffs = manifest.cutoffs_of(ds, train_lag_days=0, history_lag_days=0, label_days=1)
        inputs = Inputs(ds, cutoffs, {}, pin_sources(settings, ds))
        out = Output(EXTRACT, ds, "bench", cutoffs, target)
        manifest.store(run(inputs, settings.view(SECTIONS[EXTRACT]), out), target)
    return manifest.load(uri)


def _train(settings: Settings, runs: Path, pinned: dict[str, Manifest]) -> tuple[Manifest, float]:
    from recjobs.retrieve.train.stage import run

    extract = pinned[EXTRACT]
    out = Output(TRAIN, extract.ds, "bench", extract.cutoffs, str(runs / str(extract.ds)))
    started = time.process_time()
    done = run(Inputs(extract.ds, extract.cutoffs, pinned), settings.view(SECTIONS[TRAIN]), out)
    return done, time.process_time() - started


def _truth(settings: Settings, extract: Manifest, before: Manifest) -> pl.DataFrame:
    """The next day's (user, item) pairs by item index, of items that may be recommended, with each item's kind."""
    names = [c.ITEM, c.ITEM_INDEX, c.N_EVENTS, c.AVAILABLE]
    items = pl.read_parquet(extract.uri("items.parquet"), columns=names).filter(pl.col(c.AVAILABLE).fill_null(True))
    seen_before = pl.read_parquet(before.uri("items.parquet"), columns=[c.ITEM, c.N_EVENTS]).filter(
        pl.col(c.N_EVENTS) > 0
    )
    seen = pl.col(c.N_EVENTS) > 0
    kinds = items.select(
        c.ITEM,
        c.ITEM_INDEX,
        seen.alias("seen"),
        (seen & ~pl.col(c.ITEM).is_in(seen_before[c.ITEM].implode())).alias("first"),
    )
    outcomes = outcomes_from_sources(settings, extract.ds, extract.ds + timedelta(days=1))
    return outcomes.join(kinds, on=c.ITEM)


def _judged(extract: Manifest, trained: Manifest, truth: pl.DataFrame, k: int, seconds: float) -> Judged:
    users = pl.concat([pl.read_parquet(part.uri) for part in extract.parts("users")])
    users = users.join(truth.select(c.USER).unique(), on=c.USER, how="semi").sort(c.USER)
    hits = truth.join(_top(extract, trained, users, k), on=[c.USER, c.ITEM_INDEX], how="left")
    hits = hits.join(users.select(c.USER), on=c.USER, how="semi").with_columns(pl.col("hit").fill_null(False))
    return Judged(
        recall=_recall(hits),
        recall_seen=_recall(hits.filter("seen")),
        recall_new=_recall(hits.filter(~pl.col("seen"))),
        recall_first=_recall(hits.filter("first")),
        users=users.height,
        training=trained.timings["training"],
        stage=seconds,
        steps=trained.rows["steps"],
    )


def _recall(hits: pl.DataFrame) -> float:
    """The mean over users of the share of their items that was hit."""
    mean = hits.group_by(c.USER).agg(pl.col("hit").mean())["hit"].mean()
    return float(mean) if isinstance(mean, float) else 0.0


def _top(extract: Manifest, trained: Manifest, users: pl.DataFrame, k: int) -> pl.DataFrame:
    """(user, item index) of the first K of the whole catalogue, `hit` true."""
    from recjobs.retrieve.search.towers import Tower, item_vectors, tower_facts, user_vectors
    from recjobs.retrieve.user_features import list_time

    facts = tower_facts(trained.uri("towers.json"))
    available = pl.read_parquet(extract.uri("items.parquet"), columns=[c.AVAILABLE])[c.AVAILABLE].fill_null(value=True)
    chosen = np.flatnonzero(available.to_numpy())
    items = item_vectors(Tower(Path(trained.uri("item_tower"))), facts.items)[chosen]
    vectors = user_vectors(Tower(Path(trained.uri("user_tower"))), users, facts, list_time(extract.ds))
    top = np.concatenate([_first(block @ items.T, k) for block in _blocks(vectors)])
    index = (chosen + 1).astype(np.int32)[top]
    return pl.DataFrame(
        {c.USER: np.repeat(users[c.USER].to_numpy(), top.shape[1]), c.ITEM_INDEX: index.reshape(-1)}
    ).with_columns(pl.lit(True).alias("hit"))


def _blocks(vectors: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    return [vectors[start : start + _USERS_A_BLOCK] for start in range(0, len(vectors), _USERS_A_BLOCK)]


def _first(scores: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    return np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]


def _summary(nights: list[Night]) -> dict[str, float]:
    loss = [night.loss for night in nights]
    drift = [night.metrics["drift_estimate"] for night in nights]
    varied = len(nights) > 2 and np.std(loss) > 0 and np.std(drift) > 0
    return {
        "recall_full": float(np.mean([night.full.recall for night in nights])),
        "recall_warm": float(np.mean([night.warm.recall for night in nights])),
        "loss_of_recall": 1 - sum(night.warm.recall for night in nights) / sum(night.full.recall for night in nights),
        "worst_loss": max(loss),
        "cost": sum(night.warm.training for night in nights) / sum(night.full.training for night in nights),
        "cost_of_stage": sum(night.warm.stage for night in nights) / sum(night.full.stage for night in nights),
        "worst_drift": max(night.metrics["drift"] for night in nights),
        "estimate_against_loss": float(np.corrcoef(drift, loss)[0, 1]) if varied else 0.0,
    }


def _write(nights: list[Night], settings: Settings, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Writes `warm_start.json` and `warm_start.png`; returns what the JSON holds."""
    content = {
        "summary": {name: round(value, 4) for name, value in _summary(nights).items()},
        "k": options.k,
        "settings": settings.retrieve.train.model_dump(mode="json"),
        "marketplace": settings.marketplace.model_dump(mode="json") if settings.marketplace else {},
        "nights": [asdict(night) | {"loss": night.loss, "cost": night.cost} for night in nights],
    }
    (folder / "warm_start.json").write_text(json.dumps(content, indent=1))
    _picture(nights, options.k, folder / "warm_start.png")
    return content


def _picture(nights: list[Night], k: int, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    FigureCanvasAgg(figure)
    recall, drift, cost = figure.subplots(3, sharex=True)
    days = [night.ds[5:] for night in nights]
    for name, style in (("full", "o-"), ("warm", "s--")):
        judged = [getattr(night, name) for night in nights]
        recall.plot(days, [one.recall_seen for one in judged], style, label=f"{name}, items with an event")
        recall.plot(days, [one.recall_new for one in judged], style, alpha=0.4, label=f"{name}, new items")
        cost.plot(days, [one.training for one in judged], style, label=name)
    drift.plot(days, [night.metrics["drift"] for night in nights], "o-", label="drift, known that night")
    drift.plot(days, [night.metrics["drift_estimate"] for night in nights], "o:", alpha=0.4, label="its estimate")
    drift.plot(days, [night.loss for night in nights], "s--", label="recall lost against a full training")
    for axes, label in ((recall, f"recall@{k}, next day"), (drift, "share"), (cost, "seconds of training")):
        axes.set_ylabel(label)
        axes.legend(fontsize="small")
    recall.set_ylim(bottom=0)
    cost.set_ylim(bottom=0)
    cost.tick_params(axis="x", rotation=45)
    figure.savefig(path, dpi=110)


def _table(nights: list[Night], k: int) -> Table:
    table = Table(title=f"warm against full, recall@{k} on the next day", title_justify="left")
    for header in (
        "date",
        "full",
        "warm",
        "lost",
        "full new",
        "warm new",
        "full s",
        "warm s",
        "cost",
        "drift",
        "warm nights",
    ):
        table.add_column(header, justify="right")
    for night in nights:
        full, warm = night.full, night.warm
        recalls = (f"{full.recall:.4f}", f"{warm.recall:.4f}", f"{night.loss:+.1%}")
        new = (f"{full.recall_new:.4f}", f"{warm.recall_new:.4f}")
        cost = (f"{full.training:.1f}", f"{warm.training:.1f}", f"{night.cost:.2f}")
        drift = (f"{night.metrics['drift']:.3f}", f"{night.metrics['drift_estimate']:+.3f}")
        table.add_row(night.ds, *recalls, *new, *cost, *drift, str(night.warm_nights))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
