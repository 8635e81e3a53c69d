"""Nights of the generated marketplace, each trained in full and warm: recall on the next day, cost, drift.

`python -m benchmarks.warm_start [--nights 14] [--users 3000] [--set key=value …] [--chain NAME:key=value,…]`

All chains start from one full training. Every night the real `extract` runs, then `retrieve/train`: in
full, carried on from the warm chain's night before, and once more for each `--chain`, which is a warm chain with
settings of its own (one that is broken, say). `--again` nights are also trained in full with another seed, which
tells how much of a night's difference is chance. All towers rank the whole catalogue for every user;
recall@K counts the next day's items among the first K. No chain is cut by `full_every` or
`drift_limit`, so that the drift they bound is seen.

What is done is kept: `warm_start.json` and the picture, below `work/warm-start`, are written after every night,
and the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rich.console import Console

from benchmarks.warm_report import AGAIN, FULL, WARM, Judged, Night, table_of, write_report
from recjobs import columns as c
from recjobs import manifest, storage
from recjobs.evaluate.outcomes import outcomes_from_sources
from recjobs.flow import STAGES
from recjobs.manifest import PREVIOUS_EXTRACT, PREVIOUS_TRAIN, Inputs, Manifest, Output
from recjobs.settings import Settings, home, load_settings, parse_overrides
from recjobs.sources.marketplace.generation import generate
from recjobs.sources.pinning import pin_sources

EXTRACT, TRAIN = "extract", "retrieve/train"

LAST = date(2026, 6, 30)
"""The day that the last night's lists are judged on."""
_USERS_A_BLOCK = 2048
_OTHER_SEED = 1_000_003


@dataclass(frozen=True)
class Chain:
    """A way to train every night; `warm` ones go on from their night before."""

    name: str
    settings: Settings
    warm: bool


@dataclass(frozen=True)
class Bench:
    """What is measured, where, and with what."""

    folder: Path
    settings: Settings
    nights: int
    k: int
    again: int
    chain_nights: int
    chains: list[Chain] = field(default_factory=list)

    @property
    def first(self) -> date:
        """The first night that is trained in both ways."""
        return LAST - timedelta(days=self.nights)


def main(arguments: list[str]) -> int:
    """Measures, prints the table, writes JSON and picture; the exit code is 0 whatever the figures are."""
    bench = bench_of(arguments)
    _require_same(bench.folder / "settings.json", _told(bench.settings) | {"nights": bench.nights, "k": bench.k})
    _generate(bench)
    nights = measure(bench)
    content = write_report(nights, _told(bench.settings), bench.k, bench.folder)
    Console(width=180).print(table_of(nights, bench.k))
    Console().print(content["summary"])
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.warm_start", description=__doc__)
    parser.add_argument("--nights", type=int, default=14, help="nights after the first full training")
    parser.add_argument("--users", type=int, help="users of the marketplace; those of its config by default")
    parser.add_argument("--items", type=int, help="items of the marketplace")
    parser.add_argument("--again", type=int, default=0, help="nights also trained in full with another seed")
    parser.add_argument("--chain", action="append", default=[], help="NAME:key=value,… a warm chain of other settings")
    parser.add_argument("--chain-nights", type=int, help="how many nights such chains have; all by default")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], help="a setting, e.g. retrieve.train.warm_share=0.1")
    parser.add_argument("--out", help="folder for data, artefacts and results; work/warm-start by default")
    return parser.parse_args(arguments)


def bench_of(arguments: list[str]) -> Bench:
    """What the command's arguments ask for."""
    options = _options(arguments)
    folder = Path(options.out) if options.out else home() / "work" / "warm-start"
    sizes = {f"marketplace.{name}": getattr(options, name) for name in ("users", "items") if getattr(options, name)}
    paths = {f"{kind}.path": str(folder / "data" / kind) for kind in ("events", "items", "users")}
    base = {"root": str(folder / "artefacts"), **paths, **sizes, **parse_overrides(options.set)}

    def settings(*further: str) -> Settings:
        return load_settings("marketplace", base | parse_overrides(list(further)))

    chains = [Chain(FULL, settings(), warm=False), Chain(WARM, settings(), warm=True)]
    for told in options.chain:
        name, _, overrides = told.partition(":")
        chains.append(Chain(name, settings(*overrides.split(",")), warm=True))
    of_chains = options.chain_nights or options.nights
    return Bench(folder, settings(), options.nights, options.k, options.again, of_chains, chains)


def _told(settings: Settings) -> dict[str, Any]:
    market = settings.marketplace.model_dump(mode="json") if settings.marketplace else {}
    return {"seed": settings.seed, "settings": settings.retrieve.train.model_dump(mode="json"), "marketplace": market}


def _require_same(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content`, or refuses to go on where something else stands: figures of two settings don't mix."""
    if path.exists() and json.loads(path.read_text()) != content:
        raise SystemExit(f"{path}: measured with other settings. Name another folder with --out, or delete this one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def _generate(bench: Bench) -> None:
    assert bench.settings.marketplace is not None
    market = bench.settings.marketplace
    longer = market.model_copy(update={"days": market.days + bench.nights + 1})
    generate(longer, str(bench.folder / "data"), LAST, keep=True)


def measure(bench: Bench) -> list[Night]:
    """The nights one after the other, told on stderr and written to the report as they end."""
    runs = bench.folder / "runs"
    before = _extract(bench.settings, runs, bench.first - timedelta(days=1))
    for chain in bench.chains:
        _require_same(runs / chain.name / "settings.json", _told(chain.settings))
    _train(bench.chains[0].settings, runs / FULL, {EXTRACT: before})
    nights: list[Night] = []
    for number in range(bench.nights):
        extract = _extract(bench.settings, runs, bench.first + timedelta(days=number), before)
        nights.append(_night(bench, number, before, extract))
        write_report(nights, _told(bench.settings), bench.k, bench.folder)
        print(nights[-1].line(), file=sys.stderr, flush=True)
        before = extract
    return nights


def _night(bench: Bench, number: int, before: Manifest, extract: Manifest) -> Night:
    chains = [chain for chain in bench.chains if chain.name in (FULL, WARM) or number < bench.chain_nights]
    trained = {chain.name: _chain_night(bench, chain, before, extract) for chain in chains}
    if number < bench.again:
        other = with_other_seed(bench.settings)
        trained[AGAIN] = _train(other, bench.folder / "runs" / AGAIN, {EXTRACT: extract})

    @cache
    def truth() -> pl.DataFrame:
        return _truth(bench.settings, extract, before)

    def judged(one: Manifest) -> Judged:
        return Judged(**_kept(Path(one.folder).parent / "judged.json", lambda: _judged(extract, one, truth(), bench.k)))

    popular = _kept(
        bench.folder / "runs" / "popularity" / f"{extract.ds}.json",
        lambda: {"recall": _popular(extract, truth(), bench.k)},
    )
    return Night(str(extract.ds), popular["recall"], {name: judged(one) for name, one in trained.items()})


def with_other_seed(settings: Settings) -> Settings:
    """The same settings with another seed: what chance alone does to a full training."""
    return settings.model_copy(update={"seed": settings.seed + _OTHER_SEED})


def _chain_night(bench: Bench, chain: Chain, before: Manifest, extract: Manifest) -> Manifest:
    runs = bench.folder / "runs"
    if not chain.warm:
        return _train(chain.settings, runs / chain.name, {EXTRACT: extract})
    last = FULL if before.ds < bench.first else chain.name
    towers = manifest.load(_manifest_of(runs / last, before.ds))
    return _train(
        chain.settings, runs / chain.name, {EXTRACT: extract, PREVIOUS_EXTRACT: before, PREVIOUS_TRAIN: towers}
    )


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, made once and kept in a file."""
    if not path.exists():
        content = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def finished(runs: Path, ds: date) -> Manifest | None:
    """What a chain has of a night, or None."""
    uri = _manifest_of(runs, ds)
    return manifest.load(uri) if storage.exists(uri) else None


def _manifest_of(runs: Path, ds: date) -> str:
    return storage.join(str(runs / str(ds)), manifest.MANIFEST_NAME)


def _extract(settings: Settings, runs: Path, ds: date, before: Manifest | None = None) -> Manifest:
    """The night's extract, made unless it is there; it goes on from that of the night before."""
    from recjobs.extract.stage import run

    uri = _manifest_of(runs / EXTRACT, ds)
    if not storage.exists(uri):
        cutoffs = manifest.cutoffs_of(ds, train_lag_days=0, history_lag_days=0, label_days=1)
        pinned = {} if before is None else {PREVIOUS_EXTRACT: before}
        inputs = Inputs(ds, cutoffs, pinned, pin_sources(settings, ds))
        out = Output(EXTRACT, ds, "bench", cutoffs, str(runs / EXTRACT / str(ds)))
        done = run(inputs, settings.view(STAGES[EXTRACT].sections), out)
        manifest.store(done.model_copy(update={"sources": inputs.sources}), out.run_folder)
    return manifest.load(uri)


def _train(settings: Settings, runs: Path, pinned: dict[str, Manifest]) -> Manifest:
    """The night's towers, made unless they are there, with the wall seconds of the whole stage in `timings`."""
    from recjobs.retrieve.train.stage import run

    extract = pinned[EXTRACT]
    uri = _manifest_of(runs, extract.ds)
    if not storage.exists(uri):
        out = Output(TRAIN, extract.ds, "bench", extract.cutoffs, str(runs / str(extract.ds)))
        started, used = time.perf_counter(), time.process_time()
        done = run(Inputs(extract.ds, extract.cutoffs, pinned), settings.view(STAGES[TRAIN].sections), out)
        timings = done.timings | {"total": time.perf_counter() - started}
        cost = {"timings": timings, "cpu_seconds": time.process_time() - used}
        manifest.store(done.model_copy(update=cost), out.run_folder)
    return manifest.load(uri)


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


def _judged(extract: Manifest, trained: Manifest, truth: pl.DataFrame, k: int) -> dict[str, Any]:
    """A `Judged`, as what it is made from."""
    users = pl.concat([pl.read_parquet(part.uri) for part in extract.parts("users")])
    users = users.join(truth.select(c.USER).unique(), on=c.USER, how="semi").sort(c.USER)
    hits = truth.join(_top(extract, trained, users, k), on=[c.USER, c.ITEM_INDEX], how="left")
    hits = hits.join(users.select(c.USER), on=c.USER, how="semi").with_columns(pl.col("hit").fill_null(False))
    return asdict(
        Judged(
            recall=_recall(hits),
            recall_seen=_recall(hits.filter("seen")),
            recall_new=_recall(hits.filter(~pl.col("seen"))),
            recall_first=_recall(hits.filter("first")),
            users=users.height,
            fit=trained.timings["training"],
            stage=trained.timings["total"],
            cpu=trained.cpu_seconds,
            steps=trained.rows["steps"],
            metrics={"drift": 0.0, "drift_estimate": 0.0} | trained.metrics,
            notes=list(trained.notes),
        )
    )


def _popular(extract: Manifest, truth: pl.DataFrame, k: int) -> float:
    """Recall of the items with the most events, the same for everybody; of the users that towers are judged on."""
    items = pl.read_parquet(extract.uri("items.parquet"), columns=[c.ITEM_INDEX, c.AVAILABLE])
    top = items.filter(pl.col(c.AVAILABLE).fill_null(value=True)).sort(c.ITEM_INDEX)[c.ITEM_INDEX].head(k)
    users = pl.concat([pl.read_parquet(part.uri, columns=[c.USER]) for part in extract.parts("users")])
    hits = truth.join(users, on=c.USER, how="semi")
    return _recall(hits.with_columns(pl.col(c.ITEM_INDEX).is_in(top.implode()).alias("hit")))


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
