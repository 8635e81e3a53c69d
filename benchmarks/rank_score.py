"""`rank/score`'s pairs per second against the bare model call on prepared batches.

All score the same pairs with the same ranker, which has the marketplace's features and default widths and was
not trained (its weights don't matter to the clock). Ours reads states and candidates, describes and encodes them,
calls the model, blends, sorts and writes Parquet, with every source of candidates on; the ranker is loaded already.
The yardstick has features, encoded users and encoded items ready in memory and only calls the model, on as many
threads. `ratio` is ours in the yardstick's time: at most 1.5 is the budget. `tensorflow` is the same model call made
by TensorFlow (the SavedModel's function on prepared batches), `ratio_tensorflow` ours in its time.

Rounds alternate, the fastest of each counts. Where other work shares the machine, CPU seconds tell more than the clock,
and even they grow: `gflops` is what one core reaches just then in a matrix product as small as the model's.
`peak_bytes` is that of a process which only scores.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from recjobs import columns
from recjobs.manifest import Manifest
from recjobs.memory import peak_bytes
from recjobs.rank.blend import utility_weights
from recjobs.rank.block import Block, Layout
from recjobs.rank.features import PairFeatures, Pairs, feature_spec, item_table, pairs_of, user_block
from recjobs.rank.inference import Encoded
from recjobs.rank.ranker import About, Ranker, batches, load_ranker, save_ranker
from recjobs.rank.score.scoring import MODEL_BATCH, Scorer, make_scorer, user_pieces
from recjobs.rank.score.stage import write_scored
from recjobs.rank.states import read_candidates, read_items, read_users
from recjobs.settings import Settings
from tests.planted import Planted, planted_extract, planted_settings
from tests.rank.planted_candidates import planted_candidates

PLANTED = Planted(users=8000, items=5000, groups=40, days=28, events_per_user=40, shards=2)
CANDIDATES, TENSORFLOW_BATCH = 100, 16_384


@dataclass(frozen=True)
class Prepared:
    """A piece of a shard with everything ready for the model."""

    users: Encoded
    pairs: Pairs
    first_user: int
    block: Block


def blocks_of(extract: Manifest, search: Manifest, settings: Settings) -> dict[str, Block]:
    """The first shard's blocks of features, of one pair."""
    spec, until = feature_spec(settings), extract.cutoffs.history_until
    users = read_users(extract.uri("users", columns.part_name(0)))
    table = item_table(read_items(extract), spec, until)
    some = pairs_of(read_candidates(search.uri("candidates", columns.part_name(0)), users)).take(np.arange(1))
    return {
        "user": user_block(users, spec, until),
        "item": table.block,
        "pair": PairFeatures(users, table, spec, until).block(some),
    }


def untrained(layouts: dict[str, Layout], settings: Settings) -> tuple[Ranker, Any]:
    """A ranker of these features with random weights, and the module that TensorFlow saves of it."""
    from recjobs.rank.dlrm import Dlrm, DlrmShape, weights_of
    from recjobs.rank.saved_model import RankerModule

    widths, tasks = settings.rank.train, settings.tasks()
    shape = DlrmShape(widths.embedding_size, tuple(widths.dense_layers), tuple(widths.over_layers), len(tasks))
    model = Dlrm(layouts, shape, np.full(len(tasks), -4.0))
    model(
        {
            name: (np.zeros((1, len(layout.dense)), np.float32), np.zeros((1, len(layout.sparse)), np.int32))
            for name, layout in layouts.items()
        }
    )
    ones, zeros = np.ones(len(tasks), np.float32), np.zeros(len(tasks), np.float32)
    about = About(tasks, utility_weights(settings), 0.5, feature_spec(settings), layouts)
    return Ranker(weights_of(model, ones, zeros), about), RankerModule(model, layouts, ones, zeros)


def with_all_sources(search: Manifest) -> None:
    """Gives every source a score for each candidate, as a night has where all are on."""
    for part in search.parts("candidates"):
        frame = pl.read_parquet(part.uri)
        others = [columns.source_score(name) for name in columns.SCORED_SOURCES[1:]]
        scores = frame[columns.SCORE]
        mixed = [scores.list.eval(pl.element().sin().abs() * number).alias(name) for number, name in enumerate(others)]
        frame.with_columns(mixed).write_parquet(part.uri)


def score_parts(scorer: Scorer, search: Manifest, folder: Path) -> int:
    """Scores every shard as the stage does; returns the pairs."""
    pairs = 0
    for part in search.parts("candidates"):
        name = Path(part.uri).name
        users = read_users(scorer.extract.uri("users", name))
        pairs += write_scored(scorer.score(users, read_candidates(part.uri, users)), str(folder / name))
    return pairs


def prepared(scorer: Scorer, search: Manifest) -> list[Prepared]:
    """All pairs, described and encoded."""
    spec, until = scorer.ranker.about.spec, scorer.extract.cutoffs.history_until
    ready = []
    for part in search.parts("candidates"):
        users = read_users(scorer.extract.uri("users", Path(part.uri).name))
        candidates = read_candidates(part.uri, users)
        encoded = scorer.ranker.encode("user", user_block(users, spec, until))
        for rows in user_pieces(candidates.items.offsets, scorer.batch_size):
            pairs = pairs_of(candidates.part(rows))
            block = PairFeatures(users.part(rows), scorer.items, spec, until).block(pairs)
            ready.append(Prepared(encoded, pairs, rows.start, block))
    return ready


def bare(scorer: Scorer, ready: list[Prepared]) -> None:
    """The model calls alone."""

    def call(piece: Prepared) -> None:
        user = piece.pairs.user + piece.first_user
        scorer.ranker.probabilities(piece.users, scorer.encoded_items, user, piece.pairs.item, piece.block, MODEL_BATCH)

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        list(threads.map(call, ready))


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds by the clock and of CPU."""
    clock, cpu = perf_counter(), process_time()
    work()
    return perf_counter() - clock, process_time() - cpu


def best(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    """The least of each."""
    seconds, cpu = zip(*rounds, strict=True)
    return min(seconds), min(cpu)


def measure(extract: Manifest, search: Manifest, folder: str, batch_size: int, rounds: int) -> dict[str, float]:
    """Ours and the yardstick by turns, in a process of their own, where no TensorFlow is loaded."""
    scorer = make_scorer(load_ranker(folder), extract, batch_size)
    pairs = score_parts(scorer, search, Path(folder))
    peak = peak_bytes()
    ready = prepared(scorer, search)
    bare(scorer, ready)
    taken = [
        (timed(lambda: score_parts(scorer, search, Path(folder))), timed(lambda: bare(scorer, ready)))
        for _ in range(rounds)
    ]
    ours, yardstick = (best(list(side)) for side in zip(*taken, strict=True))
    return {
        "pairs": pairs,
        "ours_seconds": ours[0],
        "yardstick_seconds": yardstick[0],
        "cpu_seconds_per_million": 1e6 * ours[1] / pairs,
        "yardstick_cpu_seconds_per_million": 1e6 * yardstick[1] / pairs,
        "cpu_ratio": ours[1] / yardstick[1],
        "peak_bytes": peak,
        "gflops": gflops(),
        "tensorflow_loaded": float("tensorflow" in sys.modules),
    }


def gflops() -> float:
    """Billions of operations a second of one core in 2048 × 64 by 64 × 64."""
    left, right = np.ones((2048, 64), np.float32), np.ones((64, 64), np.float32)

    def multiply() -> None:
        for _ in range(100):
            left @ right

    with threadpool_limits(1, user_api="blas"):
        return 100 * 2 * 2048 * 64 * 64 / min(timed(multiply)[1] for _ in range(5)) / 1e9


def tensorflow_call(module: Any, scorer: Scorer, search: Manifest, rounds: int) -> tuple[float, float]:
    """Seconds a pair of TensorFlow's call on prepared batches, by the clock and of CPU."""
    import tensorflow as tf

    items = module.encode_item(scorer.items.block.dense, scorer.items.block.sparse)
    part = search.parts("candidates")[0]
    users = read_users(scorer.extract.uri("users", Path(part.uri).name))
    spec, until = scorer.ranker.about.spec, scorer.extract.cutoffs.history_until
    pairs, described = pairs_of(read_candidates(part.uri, users)), user_block(users, spec, until)
    encoded = module.encode_user(described.dense, described.sparse)
    block = PairFeatures(users, scorer.items, spec, until).block(pairs)
    calls = [
        [tf.constant(values[batch]) for values in (pairs.user.astype(np.int32), pairs.item.astype(np.int32))]
        + [tf.constant(block.dense[batch]), tf.constant(block.sparse[batch])]
        for batch in batches(len(pairs), TENSORFLOW_BATCH)
    ]

    def call() -> None:
        for call in calls:
            module.probabilities(encoded, items, *call).numpy()

    call()
    seconds, cpu = best([timed(call) for _ in range(rounds)])
    return seconds / len(pairs), cpu / len(pairs)


def main(arguments: Sequence[str]) -> int:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rank_score", description=__doc__)
    parser.add_argument("--users", type=int, default=PLANTED.users)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    planted, rounds = replace(PLANTED, users=chosen.users), chosen.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = planted_settings(folder, planted)
        extract = planted_extract(folder, planted, sequences=False)
        search = planted_candidates(extract, folder, seed=1, each=CANDIDATES)
        with_all_sources(search)
        blocks = blocks_of(extract, search, settings)
        ranker, module = untrained({name: block.layout for name, block in blocks.items()}, settings)
        save_ranker(ranker, str(folder))
        batch_size = settings.rank.score.batch_size
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (extract, search, str(folder), batch_size, rounds))
        tensorflow = tensorflow_call(module, make_scorer(ranker, extract, batch_size), search, rounds)
    a_pair = found["ours_seconds"] / found["pairs"]
    line = {
        "name": "rank/score",
        "ours": 1 / a_pair,
        "yardstick": found["pairs"] / found["yardstick_seconds"],
        "ratio": found["ours_seconds"] / found["yardstick_seconds"],
        "unit": "pairs/s",
        "tensorflow": 1 / tensorflow[0],
        "ratio_tensorflow": a_pair / tensorflow[0],
        "tensorflow_cpu_seconds_per_million": 1e6 * tensorflow[1],
        **{name: value for name, value in found.items() if not name.endswith("_seconds")},
    }
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
