"""`rank/score`: scores every user's candidates with tonight's ranker, a shard at a time on Beam."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import perf_counter

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from recjobs import columns, pipeline, storage
from recjobs.errors import ContractError
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.rank.score.checks import all_scored, users_with_candidates
from recjobs.rank.states import read_candidates, read_users
from recjobs.settings import Settings

log = logging.getLogger(__name__)
_NAMESPACE = "rank/score"
COUNTS = ("users", "pairs", "candidates", "users_without_candidates")


class ScoreShard(beam.DoFn):  # type: ignore[misc]
    """Shard number in; the URI of that shard's scored candidates out. The ranker is loaded once per worker."""

    def __init__(self, extract: Manifest, search: Manifest, trained: Manifest, folder: str, batch_size: int) -> None:
        self._extract, self._search, self._trained = extract, search, trained
        self._folder, self._batch_size = folder, batch_size
        self._counters = {name: Metrics.counter(_NAMESPACE, name) for name in COUNTS}

    def setup(self) -> None:
        from recjobs.rank.ranker import load_ranker
        from recjobs.rank.score.scoring import make_scorer

        self._scorer = make_scorer(load_ranker(self._trained.folder), self._extract, self._batch_size)

    def process(self, shard: int) -> Iterator[str]:
        started = perf_counter()
        part = columns.part_name(shard)
        users = read_users(self._extract.uri("users", part))
        candidates = read_candidates(self._search.uri("candidates", part), users)
        table = self._scorer.score(users, candidates)
        uri = storage.join(self._folder, part)
        with storage.writing(uri) as stream:
            pq.write_table(table, stream, compression="zstd", use_dictionary=[columns.USER])
        pairs = len(table[columns.SCORE].combine_chunks().flatten())
        self._count(len(users), pairs, len(candidates.items.values), int((candidates.items.lengths == 0).sum()))
        seconds = perf_counter() - started
        log.info("rank/score: shard %d, %d users, %d pairs, %.0f pairs/s", shard, len(users), pairs, pairs / seconds)
        yield uri

    def _count(self, *counts: int) -> None:
        for name, count in zip(COUNTS, counts, strict=True):
            self._counters[name].inc(count)


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
    work = ScoreShard(extract, search, inputs["rank/train"], out.uri("scored"), config.rank.score.batch_size)
    flow = pipeline.pipeline(config.beam)
    _ = flow | "Shards" >> beam.Create(range(shards), reshuffle=False) | "Score" >> beam.ParDo(work)
    result = flow.run()
    result.wait_until_finish()
    found = result.metrics().query()["counters"]
    counts = dict.fromkeys(COUNTS, 0) | {counter.key.metric.name: counter.committed for counter in found}
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
