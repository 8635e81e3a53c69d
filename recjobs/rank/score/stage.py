"""`rank/score`: scores every user's candidates with tonight's ranker, a shard at a time on Beam."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from time import perf_counter
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recjobs import columns, storage
from recjobs.errors import ContractError
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.passes import Record, run_pass
from recjobs.rank.features import feature_spec
from recjobs.rank.relations.features import learn_related
from recjobs.rank.score.checks import all_scored, users_with_candidates
from recjobs.rank.states import read_candidates, read_users
from recjobs.settings import Settings

if TYPE_CHECKING:
    from recjobs.rank.score.scoring import Scorer

log = logging.getLogger(__name__)
_PIECES_A_GROUP = 16
COUNTS = ("users", "pairs", "candidates", "users_without_candidates")


@dataclass(frozen=True)
class ScoreTask:
    """Where users, candidates and the ranker are, and where scored candidates go."""

    extract: Manifest
    search: Manifest
    trained: Manifest
    folder: str
    batch_size: int
    relations: str
    """The folder of `learn_related`."""


def _shard_scorer(task: ScoreTask) -> Callable[[int], Record]:
    from recjobs.rank.ranker import load_ranker
    from recjobs.rank.score.scoring import make_scorer

    ranker = load_ranker(task.trained.folder)
    return partial(score_shard, task, make_scorer(ranker, task.extract, task.batch_size, task.relations))


def score_shard(task: ScoreTask, scorer: Scorer, shard: int) -> Record:
    """Writes the shard's scored candidates; returns its `COUNTS`."""
    started = perf_counter()
    part = columns.part_name(shard)
    users = read_users(task.extract.uri("users", part))
    candidates = read_candidates(task.search.uri("candidates", part), users)
    pairs = write_scored(scorer.score(users, candidates), storage.join(task.folder, part))
    seconds = perf_counter() - started
    log.info("rank/score: shard %d, %d users, %d pairs, %.0f pairs/s", shard, len(users), pairs, pairs / seconds)
    without = int((candidates.items.lengths == 0).sum())
    return dict(zip(COUNTS, (len(users), pairs, len(candidates.items.values), without), strict=True))


def write_scored(pieces: Iterator[pa.Table], uri: str) -> int:
    """Writes pieces of `scored_schema`, at least one, while more are being made; returns their pairs."""
    first = next(pieces)
    pairs = 0
    with (
        storage.writing(uri) as stream,
        pq.ParquetWriter(stream, first.schema, compression="zstd", use_dictionary=[columns.USER]) as writer,
    ):
        for group in _row_groups(chain([first], pieces)):
            writer.write_table(group)
            pairs += pc.sum(pc.list_value_length(group[columns.SCORE])).as_py() or 0
    return pairs


def _row_groups(pieces: Iterator[pa.Table]) -> Iterator[pa.Table]:
    while some := list(islice(pieces, _PIECES_A_GROUP)):
        yield pa.concat_tables(some)


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Writes `scored/part-*.parquet`."""
    started = perf_counter()
    extract, search = inputs["extract"], inputs["retrieve/search"]
    shards = len(extract.parts("users"))
    if shards != len(search.parts("candidates")):
        raise ContractError(
            f"{search.folder} has {len(search.parts('candidates'))} parts of candidates and {extract.folder} "
            f"{shards} of users. Run retrieve/search again on this extract."
        )
    relations = out.uri(".relations")
    task = ScoreTask(extract, search, inputs["rank/train"], out.uri("scored"), config.rank.score.batch_size, relations)
    try:
        learn_related(extract, feature_spec(config), config.beam, relations)
        records = run_pass(config.beam, "scores", range(shards), partial(_shard_scorer, task), out.uri(".pass"))
    finally:
        storage.delete_folder(relations)
    counts = {name: sum(record[name] for record in records) for name in COUNTS}
    seconds = perf_counter() - started
    log.info("rank/score: %d pairs in %.1f s, %.0f pairs/s", counts["pairs"], seconds, counts["pairs"] / seconds)
    return out.manifest(
        rows={"users": counts["users"], "pairs": counts["pairs"]},
        checks=[
            all_scored(counts["pairs"], counts["candidates"]),
            users_with_candidates(counts["users_without_candidates"], counts["users"]),
        ],
        timings={"score": seconds},
    )
