from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from recjobs import columns, storage
from recjobs.rank.features import Pairs, feature_spec, pairs_of
from recjobs.rank.ranker import load_ranker
from recjobs.rank.relations.features import (
    FEATURES,
    RANKED,
    dot_products,
    learn_related,
    load_related,
    looked_up,
    with_relations,
)
from recjobs.rank.score import stage as score
from recjobs.rank.states import UserShard, read_candidates, read_items, read_users
from recjobs.rank.train import stage as train
from tests.planted import Planted, planted_events
from tests.rank.planted_candidates import Night, planted_night

SMALL = Planted(users=24, items=14, groups=3, days=6, events_per_user=12, shards=2)
ON: dict[str, Any] = {"rank__relations__enabled": True, "rank__train__epochs": 1}


def related_pairs(night: Night) -> tuple[Pairs, UserShard]:
    """All candidates of shard 0, with relations."""
    spec, folder = feature_spec(night.settings), str(night.folder / "relations")
    learn_related(night.extract, spec, night.settings.beam, folder)
    users = read_users(night.extract.uri("users", columns.part_name(0)))
    pairs = pairs_of(read_candidates(night.search.uri("candidates", columns.part_name(0)), users))
    return with_relations(pairs, users, load_related(read_items(night.extract), spec, folder)), users


def test_next_last_is_the_share_of_times_that_it_came_next(tmp_path: Path) -> None:
    """Counted from the raw events, one by one."""
    night = planted_night(tmp_path, SMALL, **ON)
    pairs, users = related_pairs(night)
    ids = read_items(night.extract)[columns.ITEM].to_list()
    shrinkage = night.settings.rank.relations.shrinkage
    events = planted_events(SMALL).filter(pl.col(columns.ITEM).is_not_null())
    lines = {
        user: mine.sort(columns.TIMESTAMP).select(columns.ITEM, columns.TIMESTAMP).rows()
        for (user,), mine in events.group_by(columns.USER)
    }
    moments = {user: sorted({time for _, time in line}) for user, line in lines.items()}
    some = pairs.related["next_last"].nonzero()[0][::9]
    assert len(some) > 5
    for row in some:
        last = ids[users.history_item.values[users.history_item.offsets[pairs.user[row] + 1] - 1] - 1]
        item = ids[pairs.item[row] - 1]
        followed = sum(
            0 <= moments[user].index(after) - moments[user].index(before) <= 1
            for user, line in lines.items()
            for place, (a, before) in enumerate(line)
            for b, after in line[place + 1 :]
            if (a, b) == (last, item)
        )
        had = sum(a == last for line in lines.values() for a, _ in line)
        assert pairs.related["next_last"][row] == pytest.approx((followed / (had + shrinkage)) ** 0.5, rel=1e-5)


def test_every_relation_is_given_as_it_is_and_standardised(tmp_path: Path) -> None:
    pairs, _ = related_pairs(planted_night(tmp_path, SMALL, **ON))
    names = [f"{relation}_{speaker}" for relation, speakers in FEATURES.items() for speaker in speakers]
    assert set(pairs.related) == {
        *names,
        *(f"standard_{name}" for name in names),
        *(f"closeness_{name}" for name in RANKED),
    }
    lengths = np.bincount(pairs.user)
    for name in names:
        standard = np.split(pairs.related[f"standard_{name}"], np.cumsum(lengths)[:-1])
        assert [own.mean() for own in standard] == pytest.approx([0.0] * len(lengths), abs=1e-5)


@pytest.mark.slow
def test_a_night_trains_and_scores_with_them_and_leaves_no_table_behind(tmp_path: Path) -> None:
    night = planted_night(tmp_path, replace(SMALL, users=60), **ON)
    trained = train.run(night.inputs(), night.settings, night.out("rank/train"))
    assert "next_last" in load_ranker(trained.folder).about.layouts["pair"].dense
    assert load_ranker(trained.folder).about.spec == feature_spec(night.settings)
    scored = score.run(night.inputs(rank__train=trained), night.settings, night.out("rank/score"))
    assert scored.rows["pairs"] == 60 * 14
    left = [
        file.uri for made in (trained, scored) for file in storage.list_files(made.folder) if "relations" in file.uri
    ]
    assert not left


def test_without_the_setting_there_are_none(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    pairs, _ = related_pairs(night)
    assert not pairs.related


def test_look_ups_are_those_of_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    table, lengths = sparse.random(7, 9, 0.4, random_state=1, dtype=np.float32).tocsr(), np.array([3, 0, 4, 1, 2, 0, 5])
    words = sparse.random(9, 6, 0.5, random_state=2, dtype=np.float32).tocsr()
    user, item = np.repeat(np.arange(7), lengths), random.integers(0, 9, lengths.sum())
    for cells in (1, 20, 400):
        monkeypatch.setattr("recjobs.rank.relations.features._SCRATCH_CELLS", cells)
        assert looked_up(table, item, lengths) == pytest.approx(table.toarray()[user, item])
        profiles = (table @ words).tocsr()
        wanted = (profiles @ words.T).toarray()[user, item]
        assert dot_products(profiles, words, item, lengths) == pytest.approx(wanted, rel=1e-5)
