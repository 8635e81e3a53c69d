"""`rank/score`'s pairs per second against the bare model call on prepared batches.

Both score the same pairs with the same ranker, which has the marketplace's features and default widths and was
not trained (its weights don't matter to the clock). The yardstick has features, encoded users and encoded items
ready in memory and only calls the model, batch by batch. Ours reads states and candidates, describes and encodes
them, calls the model, blends, sorts and writes Parquet; the ranker is loaded in both. `ratio` is ours in the
yardstick's time: at most 1.5 is the budget.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.parquet as pq

from recjobs import columns
from recjobs.manifest import Manifest
from recjobs.rank.blend import utility_weights
from recjobs.rank.block import Block
from recjobs.rank.dlrm import Dlrm, DlrmShape
from recjobs.rank.features import PairFeatures, feature_spec, item_table, pairs_of, user_block
from recjobs.rank.ranker import About, Ranker, RankerModule, load_ranker, save_ranker
from recjobs.rank.score.scoring import Scorer, make_scorer
from recjobs.rank.states import read_candidates, read_items, read_users
from recjobs.settings import Settings
from tests.planted import Planted, planted_extract, planted_settings
from tests.rank.planted_candidates import planted_candidates

PLANTED = Planted(users=8000, items=5000, groups=40, days=28, events_per_user=40, shards=2)
CANDIDATES = 200
BATCH, ROUNDS = 16_384, 3


def untrained(extract: Manifest, search: Manifest, settings: Settings) -> Ranker:
    """A ranker for tonight's features with random weights."""
    spec, until = feature_spec(settings), extract.cutoffs.history_until
    users = read_users(extract.uri("users", columns.part_name(0)))
    table = item_table(read_items(extract), spec, until)
    some = pairs_of(read_candidates(search.uri("candidates", columns.part_name(0)), users)).take(np.arange(1))
    blocks: dict[str, Block] = {
        "user": user_block(users, spec, until),
        "item": table.block,
        "pair": PairFeatures(users, table, spec, until).block(some),
    }
    layouts = {name: block.layout for name, block in blocks.items()}
    widths, tasks = settings.rank.train, settings.tasks()
    shape = DlrmShape(widths.embedding_size, tuple(widths.dense_layers), tuple(widths.over_layers), len(tasks))
    model = Dlrm(layouts, shape, np.full(len(tasks), -4.0))
    model({name: (block.dense[:1], block.sparse[:1]) for name, block in blocks.items()})
    ones, zeros = np.ones(len(tasks), np.float32), np.zeros(len(tasks), np.float32)
    about = About(tasks, utility_weights(settings), 0.5, spec, layouts)
    return Ranker(RankerModule(model, layouts, ones, zeros), about)


def score_parts(scorer: Scorer, search: Manifest, folder: Path) -> int:
    """Scores every shard as the stage does; returns the pairs."""
    pairs = 0
    for part in search.parts("candidates"):
        users = read_users(scorer.extract.uri("users", Path(part.uri).name))
        table = scorer.score(users, read_candidates(part.uri, users))
        pq.write_table(table, folder / Path(part.uri).name, compression="zstd", use_dictionary=[columns.USER])
        pairs += len(table[columns.SCORE].combine_chunks().flatten())
    return pairs


def bare_seconds(scorer: Scorer, search: Manifest) -> float:
    """Seconds of the model calls alone."""
    spec, until = scorer.ranker.about.spec, scorer.extract.cutoffs.history_until
    seconds = 0.0
    for part in search.parts("candidates"):
        users = read_users(scorer.extract.uri("users", Path(part.uri).name))
        pairs = pairs_of(read_candidates(part.uri, users))
        encoded = scorer.ranker.encode("user", user_block(users, spec, until))
        block = PairFeatures(users, scorer.items, spec, until).block(pairs)
        started = perf_counter()
        scorer.ranker.probabilities(encoded, scorer.encoded_items, pairs.user, pairs.item, block, BATCH)
        seconds += perf_counter() - started
    return seconds


def main() -> int:
    """Prints one JSON line; of ROUNDS rounds the fastest of each counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = planted_settings(folder, PLANTED)
        extract = planted_extract(folder, PLANTED, sequences=False)
        search = planted_candidates(extract, folder, seed=1, each=CANDIDATES)
        save_ranker(untrained(extract, search, settings), str(folder))
        scorer = replace(make_scorer(load_ranker(str(folder)), extract, BATCH), batch_size=BATCH)
        bare = min(bare_seconds(scorer, search) for _ in range(ROUNDS))
        ours = np.inf
        for _ in range(ROUNDS):
            started = perf_counter()
            pairs = score_parts(scorer, search, folder)
            ours = min(ours, perf_counter() - started)
    line = {
        "name": "rank/score",
        "ours": pairs / ours,
        "yardstick": pairs / bare,
        "ratio": ours / bare,
        "unit": "pairs/s",
    }
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
