"""A planted night with lists, and a ranker whose judgement is known: it goes by one feature alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns
from recjobs.compose import stage
from recjobs.explain.finding import COMPOSE, EXTRACT, RANKER, SCORE, SEARCH, Night
from recjobs.flow import STAGES
from recjobs.manifest import Manifest, Output
from recjobs.rank.features import PairFeatures, feature_spec, item_table, pairs_of, user_block
from recjobs.rank.states import read_candidates, read_items, read_users
from recjobs.settings import Settings
from tests.compose.planted_candidates import output, planted_inputs
from tests.planted import Planted, planted_extract, planted_settings
from tests.rank.planted_candidates import write_candidates

PLANTED = Planted(users=24, items=24, events_per_user=6)
UNAVAILABLE, EXCLUDED = "i0005", "i0006"


def planted_night(folder: Path, **overrides: Any) -> Night:
    """Lists of 5, no-repeat after purchases, 12 candidates of 24 items; one item unavailable, one excluded."""
    home = {"length": 5, "no_repeat": ["purchase"]}
    settings = planted_settings(
        folder, PLANTED, compose__surfaces={"home": home}, compose__exclude_items=[EXCLUDED], **overrides
    )
    extract = planted_extract(folder, PLANTED, sequences=False)
    items = extract.uri("items.parquet")
    pl.read_parquet(items).with_columns(available=pl.col(columns.ITEM) != UNAVAILABLE).write_parquet(items)
    inputs = planted_inputs(folder, extract, settings, candidates=12)
    _write_candidates(inputs[SEARCH], inputs[SCORE])
    composed = stage.run(inputs, settings.view(STAGES[COMPOSE].sections), output(folder, COMPOSE, inputs))
    manifests = {COMPOSE: composed, **inputs.manifests}
    return Night(settings, {**manifests, RANKER: _ranker_of(folder, settings, manifests)})


def _write_candidates(search: Manifest, scored: Manifest) -> None:
    """The candidates are those that were scored, in the same order."""
    for part in scored.parts("scored"):
        table = pq.read_table(part.uri)
        write_candidates(
            search.uri("candidates", part.name),
            table[columns.USER],
            table[columns.ITEM_INDEX].to_pylist(),
            table[columns.SCORE].to_pylist(),
        )


def _ranker_of(folder: Path, settings: Settings, manifests: dict[str, Manifest]) -> Manifest:
    """A click's log odds are twice the normalised `log_pair_view` and nothing else; a purchase's are level."""
    from recjobs.rank.dlrm import Dlrm, DlrmShape, weights_of
    from recjobs.rank.ranker import About, Ranker, save_ranker

    extract, part = manifests[EXTRACT], columns.part_name(0)
    spec, until = feature_spec(settings), extract.cutoffs.history_until
    users, items = read_users(extract.uri("users", part)), item_table(read_items(extract), spec, until)
    pairs = pairs_of(read_candidates(manifests[SEARCH].uri("candidates", part), users))
    blocks = {
        "user": user_block(users, spec, until),
        "item": items.block,
        "pair": PairFeatures(users, items, spec, until).block(pairs),
    }
    layouts = {name: block.layout for name, block in blocks.items()}
    model = Dlrm(layouts, DlrmShape(2, (4,), (3,), 2), np.zeros(2))
    model({name: (block.dense[:1], block.sparse[:1]) for name, block in blocks.items()})
    model.heads.kernel.assign(np.zeros_like(model.heads.kernel))
    wide = np.zeros((len(layouts["pair"].dense), 2), np.float32)
    wide[layouts["pair"].dense.index("log_pair_view"), 0] = 2.0
    model.encoders["pair"].wide_dense.kernel.assign(wide)
    weights = weights_of(model, np.ones(2, np.float32), np.zeros(2, np.float32))
    about = About(settings.tasks(), (1.0, 4.0), 0.5, spec, layouts)
    out = Output(RANKER, extract.ds, "planted", extract.cutoffs, str(folder / RANKER))
    save_ranker(Ranker(weights, about), out.folder)
    return out.manifest(rows={})
