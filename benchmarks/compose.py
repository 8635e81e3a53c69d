"""`python -m benchmarks.compose`: what each step of composition gives in diversity and costs in NDCG, in one table.

The same scored candidates are composed once as plainly as can be, once with each step switched on alone, once with
all of them, and judged on what followed. By default on the generated marketplace, which is run first as far as
`rank/score`; `--artefacts` and `--data` name finished runs of any config instead. Where there is no `rank/score`,
retrieval's order stands in for it, and the table says so.

Novelty is the mean self-information of what is shown, -log2 of the share of users who had it; diversity the mean of
1 - cosine over the pairs of a list, by item vectors. Users a second are of composing alone, reading and writing
included, in seconds of CPU, for 20,000 users at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.quality.cases import Case
from benchmarks.quality.figures import figures
from benchmarks.quality.ours import finished_lists
from benchmarks.quality.problem import Problem, load_problem
from benchmarks.quality.running import SEARCH, work_folder
from recjobs import columns as c
from recjobs.cli.printing import log_progress, print_table
from recjobs.compose import clusters, popularity, vectors
from recjobs.compose.catalogue import load_catalogue
from recjobs.compose.config import ComposeConfig
from recjobs.compose.lists import ShardFiles, Workshop, compose_shard
from recjobs.compose.stage import Loading, loading_of
from recjobs.manifest import Inputs, Manifest, load
from recjobs.settings import Settings, load_settings
from tests.compose.planted_candidates import write_table

logger = logging.getLogger("recjobs.quality")

K, LENGTH, CROWD = 20, 50, 20_000
SCORE_STEP = "rank/score"
OFF, ALL = "as scored", "all of these"
MEASURES = ("ndcg", "recall", "coverage", "gini", "novelty", "diversity", "users/s")

Figures = dict[str, float]
Sections = dict[str, Any]

NEW_BOOST = {"rules": {"boost": [{"where": {c.AGE_DAYS: {"max": 14}}, "multiply": 1.2}]}}
VARIANTS: dict[str, Sections] = {
    "never again what was bought": {"no_repeat": ["purchase"]},
    "again after 14 days": {
        "rules": {"repeat": [{"event_types": ["purchase"], "repeat": "after", "days": 14}]},
    },
    "new items x 1.2": NEW_BOOST,
    "mmr 0.9": {"mmr": {"relevance": 0.9}},
    "mmr 0.7": {"mmr": {"relevance": 0.7}},
    "3 of a brand in 20": {"rules": {"cap": [{"column": c.BRAND, "at_most": 3, "within": K}]}},
    "3 of a cluster in 10": {"clusters": {"at_most": 3, "window": 10}},
    "explore 2 places, a tenth": {"explore": {"share": 0.1, "places": [5, 10]}},
    "dither 0.3": {"dither": {"strength": 0.3}},
}
TOGETHER = ("new items x 1.2", "mmr 0.9", "3 of a brand in 20", "3 of a cluster in 10", "explore 2 places, a tenth",
            "dither 0.3")  # fmt: skip


@dataclass(frozen=True)
class World:
    """Finished runs of one date, and what followed."""

    settings: Settings
    extract: Manifest
    search: Manifest
    scored: list[str]
    """The parts with the candidates' final scores."""
    problem: Problem

    @property
    def ranked_by(self) -> str:
        """Whose order it is."""
        return "ranked" if Path(self.scored[0]).parent.name == "scored" else "in retrieval's order"

    @property
    def items_uri(self) -> str:
        """The items."""
        return self.extract.uri("items.parquet")


def main(arguments: Sequence[str]) -> int:
    """Composes and judges every variant; writes a JSON and a PNG below work/quality, and prints the table."""
    chosen = _parser().parse_args(arguments)
    log_progress()
    world = _given(chosen) if chosen.artefacts else _marketplace()
    target = work_folder() / f"compose-{chosen.name}.json"
    found = measured(world, target.parent / f"compose-{chosen.name}")
    target.write_text(json.dumps({"k": K, "ds": str(world.extract.ds), "rows": found}, indent=1))
    draw(target.with_suffix(".png"), chosen.name, found)
    rows = [
        [name, *(round(row[measure], 4) for measure in MEASURES), _price(row, found)] for name, row in found.items()
    ]
    print_table(f"{chosen.name}, lists @{K} ({target})", ["", *MEASURES, "ndcg, %"], rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compose", description=__doc__)
    parser.add_argument("--config", default="marketplace")
    parser.add_argument("--artefacts", help="the data set's folder of artefacts: finished runs are read, none is made")
    parser.add_argument("--data", help="the folder with events, items and users; with --artefacts")
    parser.add_argument("--days", type=int, default=1, help="of outcomes after the lists' date")
    parser.add_argument("--name", default="marketplace", help="of the JSON and PNG below work/quality")
    return parser


def _price(row: Figures, found: Mapping[str, Figures]) -> float:
    return round(100 * (row["ndcg"] / found[OFF]["ndcg"] - 1), 1)


# -- what is judged


def _marketplace() -> World:
    from benchmarks.quality import marketplace

    made = marketplace.run_world(17, {}, until=SCORE_STEP)
    steps = made.steps
    return World(made.settings, steps["extract"], steps[SEARCH], _parts(steps[SCORE_STEP], "scored"), made.problem)


def _given(chosen: argparse.Namespace) -> World:
    folder = Path(chosen.artefacts)
    kinds = {f"{kind}.path": str(Path(chosen.data) / kind) for kind in ("events", "items", "users")}
    settings = load_settings(chosen.config, kinds)
    search = _newest(folder / SEARCH)
    extract, ranked = _newest(folder / "extract"), folder / SCORE_STEP
    scored = _parts(_newest(ranked), "scored") if ranked.is_dir() else _parts(search, "candidates")
    if not ranked.is_dir():
        logger.warning("%s: no %s, so retrieval's order stands in for it", folder, SCORE_STEP)
    case = Case(chosen.name, chosen.name, extract.ds, chosen.days)
    return World(settings, extract, search, scored, load_problem(extract, settings, case))


def _newest(folder: Path) -> Manifest:
    """The newest finished run below a stage's folder, wherever that was copied to."""
    found = sorted(folder.glob("ds=*/*/manifest.json"), key=lambda path: (path.parts[-3], path.stat().st_mtime))
    done = load(str(found[-1]))
    return done.model_copy(update={"folder": str(found[-1].parent / done.attempt)})


def _parts(done: Manifest, folder: str) -> list[str]:
    return [part.uri for part in done.parts(folder)]


# -- composing


def measured(world: World, folder: Path) -> dict[str, Figures]:
    """By variant, its figures. What is composed is written below `folder`."""
    matrix = vectors.load_vectors(world.search.uri("item_vectors.parquet"), world.problem.items.size)
    found, users = dict[str, Figures](), crowd(world, folder / "crowd")
    for name, own in {OFF: {}, **_possible(world), ALL: _together(world)}.items():
        config = _config(world, own)
        target = folder / name.replace(" ", "-")
        found[name] = judged(world.problem, composed(world, config, target), matrix)
        found[name]["users/s"] = speed(world, config, target, users)
        logger.info("%s: %s", name, {key: round(value, 4) for key, value in found[name].items()})
    return found


def _possible(world: World) -> dict[str, Sections]:
    """The variants that say something here: a shop may have no brands."""
    branded = pl.read_parquet(world.items_uri, columns=[c.BRAND])[c.BRAND].drop_nulls().len() > 0
    return {name: own for name, own in VARIANTS.items() if branded or "brand" not in name}


def _together(world: World) -> Sections:
    joined: Sections = {"rules": {}}
    for name in TOGETHER:
        own = _possible(world).get(name, {})
        joined["rules"] |= own.get("rules", {})
        joined |= {key: value for key, value in own.items() if key != "rules"}
    return joined


def _config(world: World, own: Sections) -> ComposeConfig:
    """The data set's own settings with one surface, on which nothing is on but `own`."""
    base = world.settings.compose.model_dump()
    return ComposeConfig.model_validate({**base, "rules": {}, "surfaces": {"home": {"length": LENGTH, **own}}})


def composed(world: World, config: ComposeConfig, folder: Path) -> npt.NDArray[np.int32]:
    """The lists of every user, int32[U, LENGTH]."""
    workshop = _workshop(world, config, folder)
    for shard, (states, scored) in enumerate(zip(_parts(world.extract, "users"), world.scored, strict=True)):
        target = str(folder / "lists" / "home" / c.part_name(shard))
        compose_shard(ShardFiles(shard, states, scored, {"home": target}), workshop)
    made = world.extract.model_copy(update={"folder": str(folder)})
    return finished_lists(made, world.problem, "home", LENGTH)


def _workshop(world: World, config: ComposeConfig, folder: Path) -> Workshop:
    folder.mkdir(parents=True, exist_ok=True)
    loading = _loading(world, config, folder)
    _write_popularity(world, config, loading)
    if config.surfaces["home"].clusters.at_most:
        matrix = vectors.load_vectors(loading.vectors_uri, world.problem.items.size)
        found = clusters.clustered(matrix, config.cluster_count, loading.seed)
        clusters.write_clusters(found, loading.clusters_uri)
    return loading.workshop()


def crowd(world: World, folder: Path) -> ShardFiles:
    """One shard of CROWD users: the world's, again and again under other names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, uris in (("users", _parts(world.extract, "users")), ("scored", world.scored)):
        once = pl.concat([pl.read_parquet(uri) for uri in uris])
        times = -(-CROWD // once.height)
        copies = [once.with_columns(pl.format("{}#{}", c.USER, pl.lit(copy))) for copy in range(times)]
        files[name] = str(folder / f"{name}.parquet")
        write_table(pl.concat(copies).head(CROWD).to_arrow(), files[name])
    return ShardFiles(0, files["users"], files["scored"], {"home": str(folder / "home.parquet")})


def speed(world: World, config: ComposeConfig, folder: Path, users: ShardFiles) -> float:
    """Users a second of CPU time: a machine that does other things besides does not show in it."""
    workshop = _workshop(world, config, folder)
    started = time.process_time()
    compose_shard(users, workshop)
    return CROWD / (time.process_time() - started)


def _loading(world: World, config: ComposeConfig, folder: Path) -> Loading:
    read = {"extract": world.extract, "retrieve/search": world.search}
    inputs = Inputs(world.extract.ds, world.extract.cutoffs, read)
    return loading_of(inputs, world.settings.model_copy(update={"compose": config}), str(folder))


def _write_popularity(world: World, config: ComposeConfig, loading: Loading) -> None:
    weights = {name: kind.weight for name, kind in world.settings.events.types.items() if kind.weight > 0}
    window = popularity.Window(world.extract.cutoffs.history_until, config.segment_window_days, weights)
    count = partial(popularity.count_shard, segment_by=config.segment_by, window=window)
    shards = [[file.uri for file in files] for files in world.extract.shards("events")]
    counts = popularity.combine(
        count(events, users) for events, users in zip(shards, _parts(world.extract, "users"), strict=True)
    )
    catalogue = load_catalogue(loading.items_uri, config, loading.ds)
    write_table(popularity.rank(counts, catalogue, config, weights), loading.popularity_uri)


# -- judging


def judged(problem: Problem, lists: npt.NDArray[np.int32], matrix: vectors.Floats) -> Figures:
    """What the first places of the lists are worth, and how they are spread."""
    found = figures(lists, problem, (K,), new_items=False)
    kept = {name: found[name, K] for name in ("ndcg", "recall", "coverage", "gini")}
    return kept | {"novelty": novelty(problem, lists[:, :K]), "diversity": diversity(lists[:, :K], matrix)}


def novelty(problem: Problem, lists: npt.NDArray[np.int32]) -> float:
    """Mean self-information in bits of the items shown; one that nobody had counts as had by one."""
    had = np.asarray(problem.known.sum(axis=0)).ravel()
    bits = -np.log2(np.maximum(had, 1) / problem.shape[0])
    return float(bits[lists[lists > 0]].mean())


def diversity(lists: npt.NDArray[np.int32], matrix: vectors.Floats) -> float:
    """The mean over lists of 1 - cosine of their pairs, by `matrix` [I + 1, D] of vectors of length 1."""
    there = lists > 0
    total = (matrix[lists] * there[:, :, None]).sum(axis=1)
    count = there.sum(axis=1)
    known = (matrix[lists] ** 2).sum(axis=(1, 2))
    # The sum of a vector with all the others is the square of the total without each with itself.
    alike = ((total**2).sum(axis=1) - known) / np.maximum(count * (count - 1), 1)
    return float((1 - alike)[count > 1].mean())


def draw(path: Path, name: str, found: Mapping[str, Figures]) -> None:
    """A PNG: for each measure of spread, NDCG against it, a dot a variant."""
    from matplotlib import pyplot as plt

    from benchmarks.quality.picture import OTHERS, OURS, save

    spreads = ("diversity", "coverage", "gini", "novelty")
    figure, axes = plt.subplots(2, 2, figsize=(11, 9))
    for one, measure in zip(axes.ravel(), spreads, strict=True):
        for variant, row in found.items():
            colour = OURS if variant in (OFF, ALL) else OTHERS
            one.scatter(row[measure], row["ndcg"], color=colour, s=24)
            one.annotate(variant, (row[measure], row["ndcg"]), fontsize=7, xytext=(3, 3), textcoords="offset points")
        one.set_xlabel(measure, fontsize=8)
        one.set_ylabel(f"NDCG@{K}", fontsize=8)
        one.margins(x=0.25, y=0.1)
        one.tick_params(labelsize=7)
        one.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{name}: what each step of composition gives and costs", fontsize=10)
    save(figure, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
