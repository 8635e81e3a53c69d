from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from recjobs import columns
from recjobs.manifest import Manifest
from recjobs.rank.block import Block
from recjobs.rank.features import (
    FeatureSpec,
    PairFeatures,
    Pairs,
    assembled,
    feature_spec,
    item_table,
    pairs_of,
    user_block,
)
from recjobs.rank.states import read_candidates, read_items, read_users
from recjobs.settings import Settings
from tests.planted import Planted, planted_events
from tests.rank.planted_candidates import Night, planted_night, write_candidates

SMALL = Planted(users=20, items=12, groups=3, days=6, events_per_user=12, shards=1)


def described(extract: Manifest, search: Manifest, settings: Settings) -> tuple[Pairs, Block, Block, Block]:
    """The pairs of shard 0 and the blocks of users, items and pairs."""
    spec, until = feature_spec(settings), extract.cutoffs.history_until
    states = read_users(extract.uri("users", columns.part_name(0)))
    pairs = pairs_of(read_candidates(search.uri("candidates", columns.part_name(0)), states))
    table = item_table(read_items(extract), spec, until)
    return pairs, user_block(states, spec, until), table.block, PairFeatures(states, table, spec, until).block(pairs)


def test_shapes_and_types(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    pairs, users, items, block = described(night.extract, night.search, night.settings)
    dense, sparse = assembled(users, items, block, pairs.user, pairs.item)
    assert dense.dtype == np.float32
    assert sparse.dtype == np.int32
    assert len(dense) == len(sparse) == len(pairs) == 20 * 12
    assert np.isfinite(dense).all()
    sizes = (*users.layout.sizes, *items.layout.sizes, *block.layout.sizes)
    assert ((sparse >= 0) & (sparse < np.array(sizes))).all()


def test_pair_features_match_a_plain_count_of_events(tmp_path: Path) -> None:
    """Bought before, affinity and last item, counted one by one from the raw events."""
    night = planted_night(tmp_path, SMALL)
    pairs, _, _, block = described(night.extract, night.search, night.settings)
    names = list(block.layout.dense)
    ids = read_items(night.extract)[columns.ITEM].to_list()
    users = read_users(night.extract.uri("users", columns.part_name(0))).ids.to_pylist()
    events = planted_events(SMALL)
    for row in range(0, len(pairs), 7):
        user, item = users[pairs.user[row]], ids[pairs.item[row] - 1]
        own = events.filter(pl.col(columns.USER) == user)
        bought = own.filter((pl.col(columns.ITEM) == item) & (pl.col(columns.EVENT_TYPE) == "purchase")).height
        group = [int(name[1:]) % SMALL.groups == int(item[1:]) % SMALL.groups for name in own[columns.ITEM]]
        last = own.sort(columns.TIMESTAMP)[columns.ITEM].to_list()[-1]
        dense = block.dense[row]
        np.testing.assert_allclose(dense[names.index("log_pair_purchase")], np.log1p(bought), rtol=1e-6)
        np.testing.assert_allclose(dense[names.index("category_share")], np.mean(group), rtol=1e-5)
        assert dense[names.index("last_item")] == (last == item)
        np.testing.assert_allclose(dense[names.index("log_rank")], np.log(row % 12 + 1), rtol=1e-6)


def test_features_know_nothing_after_history_until(tmp_path: Path) -> None:
    """The earlier artefact is made of the same history with and without what came later."""
    events = planted_events(SMALL)
    early = events.filter(pl.col(columns.TIMESTAMP).dt.date() < SMALL.ds)
    first, second = (
        planted_night(tmp_path / name, SMALL, events=kept) for name, kept in (("all", events), ("early", early))
    )
    for ours, theirs in zip(
        described(first.earlier, first.earlier_search, first.settings)[1:],
        described(second.earlier, second.earlier_search, second.settings)[1:],
        strict=True,
    ):
        np.testing.assert_array_equal(ours.dense, theirs.dense)
        np.testing.assert_array_equal(ours.sparse, theirs.sparse)


def test_ages_count_from_the_artefacts_cutoff(tmp_path: Path) -> None:
    """Moving the cutoff by a day, and nothing else, makes everything a day older."""
    night = planted_night(tmp_path, SMALL)
    spec, until = feature_spec(night.settings), night.extract.cutoffs.history_until
    frame = read_items(night.extract)
    now, later = (item_table(frame, spec, day).block for day in (until, until + timedelta(days=1)))
    age = now.layout.dense.index("log_age")
    np.testing.assert_allclose(np.expm1(later.dense[1:, age]) - np.expm1(now.dense[1:, age]), 1.0, atol=1e-4)


def test_another_vocabulary_gives_the_same_features(tmp_path: Path) -> None:
    """item_index is only a name within one artefact: renumbering all items changes no feature."""
    night = planted_night(tmp_path, SMALL)
    before = described(night.extract, night.search, night.settings)
    order = _renumber(night)
    after = described(night.extract, night.search, night.settings)
    np.testing.assert_array_equal(before[1].dense, after[1].dense)
    np.testing.assert_array_equal(before[2].dense[1:], after[2].dense[1:][order - 1])
    np.testing.assert_array_equal(before[2].sparse[1:], after[2].sparse[1:][order - 1])
    np.testing.assert_array_equal(before[3].dense, after[3].dense)
    np.testing.assert_array_equal(before[3].sparse, after[3].sparse)


def _renumber(night: Night) -> np.ndarray:
    """Gives every item another item_index in tonight's artefacts; returns the new index of each old one."""
    order = np.random.default_rng(5).permutation(12) + 1
    new_index = np.concatenate([[0], order]).astype(np.int32)
    items_uri = night.extract.uri("items.parquet")
    items = pl.read_parquet(items_uri).with_columns(pl.Series(columns.ITEM_INDEX, order, dtype=pl.Int32))
    items.sort(columns.ITEM_INDEX).write_parquet(items_uri)
    part = columns.part_name(0)
    users_uri = night.extract.uri("users", part)
    mapped = [
        pl.Series(
            name, [new_index[row].tolist() for row in pl.read_parquet(users_uri)[name].to_list()], pl.List(pl.Int32)
        )
        for name in (columns.HISTORY_ITEM, columns.PAIR_ITEM)
    ]
    pl.read_parquet(users_uri).with_columns(mapped).write_parquet(users_uri)
    search_uri = night.search.uri("candidates", part)
    table = pq.read_table(search_uri)
    rows = [new_index[row].tolist() for row in table[columns.ITEM_INDEX].to_pylist()]
    write_candidates(search_uri, table[columns.USER], rows, table[columns.SCORE].to_pylist())
    return order


def test_a_spec_survives_json(tmp_path: Path) -> None:
    spec = feature_spec(planted_night(tmp_path, SMALL).settings)
    assert FeatureSpec.from_record({**spec.to_record(), "windows": list(spec.windows)}) == spec


def test_ignored_features_are_0_and_the_others_as_they_were(tmp_path: Path) -> None:
    """By pattern and block: the users' `log_events` stay, the items' go."""
    night = planted_night(tmp_path, SMALL)
    off = night.settings.model_copy(deep=True)
    off.rank.train.ignored_features.extend(["item:log_*", "pair:rank", "pair:pair_*"])
    full, less = (described(night.extract, night.search, config)[1:] for config in (night.settings, off))
    assert [block.layout for block in full] == [block.layout for block in less]
    np.testing.assert_array_equal(full[0].dense, less[0].dense)
    for before, after, prefix in ((full[1], less[1], "log_"), (full[2], less[2], "pair_")):
        gone = np.array([name.startswith(prefix) for name in before.layout.dense])
        assert before.dense[:, gone].any()
        assert not after.dense[:, gone].any()
        np.testing.assert_array_equal(before.dense[:, ~gone], after.dense[:, ~gone])
    assert not less[2].sparse[:, [name for name, _ in less[2].layout.sparse].index("rank")].any()


def test_missing_values_are_0_and_flagged(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    frame = read_items(night.extract).with_columns(
        pl.lit(None).cast(pl.Float32).alias(columns.PRICE), pl.lit(None).cast(pl.String).alias(columns.CATEGORY)
    )
    block = item_table(frame, feature_spec(night.settings), night.extract.ds).block
    names = list(block.layout.dense)
    assert not block.dense[:, names.index("log_price")].any()
    assert not block.dense[:, names.index("price_known")].any()
    assert not block.sparse[:, [name for name, _ in block.layout.sparse].index(columns.CATEGORY)].any()
