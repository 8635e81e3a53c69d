"""`rank/score` on a planted night."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recjobs import columns
from recjobs.errors import ContractError, ModelError
from recjobs.manifest import Manifest
from recjobs.rank.ranker import ABOUT_FILE, WEIGHTS_FILE, Ranker, load_ranker
from recjobs.rank.score import stage
from recjobs.rank.score.scoring import Scorer, make_scorer
from recjobs.rank.states import Candidates, UserShard, read_candidates, read_items, read_users
from tests.rank.conftest import TrainedNight
from tests.rank.planted_candidates import group_of, planted_candidates, write_candidates


@pytest.fixture(scope="module")
def scored(trained_night: TrainedNight) -> Manifest:
    night = trained_night.night
    return stage.run(night.inputs(rank__train=trained_night.trained), night.settings, night.out("rank/score"))


@pytest.fixture(scope="module")
def ranker(trained_night: TrainedNight) -> Ranker:
    return load_ranker(trained_night.trained.folder)


def scored_table(scorer: Scorer, users: UserShard, candidates: Candidates) -> pa.Table:
    return pa.concat_tables(scorer.score(users, candidates))


def shard_of_night(trained_night: TrainedNight) -> tuple[UserShard, Candidates]:
    night, part = trained_night.night, columns.part_name(0)
    users = read_users(night.extract.uri("users", part))
    return users, read_candidates(night.search.uri("candidates", part), users)


def test_every_user_has_every_candidate_once_best_first(scored: Manifest, trained_night: TrainedNight) -> None:
    night = trained_night.night
    assert [file.name for file in scored.parts("scored")] == [columns.part_name(shard) for shard in range(2)]
    for shard in range(2):
        part = columns.part_name(shard)
        ours = pq.read_table(scored.uri("scored", part))
        theirs = pq.read_table(night.search.uri("candidates", part))
        assert ours.schema.equals(columns.scored_schema(("click", "purchase")))
        assert ours[columns.USER].to_pylist() == theirs[columns.USER].to_pylist()
        for row, given in zip(ours.to_pylist(), theirs.to_pylist(), strict=True):
            assert sorted(row[columns.ITEM_INDEX]) == sorted(given[columns.ITEM_INDEX])
            assert row[columns.SCORE] == sorted(row[columns.SCORE], reverse=True)
            for item, rank, score in zip(
                row[columns.ITEM_INDEX], row[columns.RETRIEVAL_RANK], row[columns.RETRIEVAL_SCORE], strict=True
            ):
                assert given[columns.ITEM_INDEX][rank - 1] == item
                assert given[columns.SCORE][rank - 1] == score
    assert scored.rows == {"users": 300, "pairs": 300 * 30}
    assert all(check.passed for check in scored.checks)


def test_tops_are_of_the_users_own_group(scored: Manifest, trained_night: TrainedNight) -> None:
    """What the planted taste says, on a night the ranker has not learnt from."""
    night = trained_night.night
    ids = read_items(night.extract)[columns.ITEM].to_numpy()
    table = pq.read_table(scored.uri("scored", columns.part_name(0)))
    user_group = group_of(table[columns.USER].to_pylist(), night.planted.groups)
    tops = np.array([row[:5] for row in table[columns.ITEM_INDEX].to_pylist()])
    own = group_of(ids[tops.ravel() - 1], night.planted.groups).reshape(tops.shape) == user_group[:, None]
    assert own.mean() > 0.8


def test_the_same_again_is_the_same_to_the_byte(scored: Manifest, trained_night: TrainedNight) -> None:
    night = trained_night.night
    inputs = night.inputs(rank__train=trained_night.trained)
    again = stage.run(inputs, night.settings, night.out("rank/score", "again"))
    for first, second in zip(scored.parts("scored"), again.parts("scored"), strict=True):
        assert Path(first.uri).read_bytes() == Path(second.uri).read_bytes()


def test_weight_0_is_retrieval_order_and_ties_keep_it(trained_night: TrainedNight, ranker: Ranker) -> None:
    users, candidates = shard_of_night(trained_night)
    # The third and fourth candidate of everybody tie.
    scores = candidates.scores.reshape(len(users), -1).copy()
    scores[:, 3] = scores[:, 2]
    tied = replace(candidates, scores=scores.ravel())
    plain = replace(ranker, about=replace(ranker.about, blend_weight=0.0))
    table = scored_table(make_scorer(plain, trained_night.night.extract, 1000), users, tied)
    assert table[columns.RETRIEVAL_RANK].to_pylist() == [list(range(1, 31))] * len(users)
    top = table[columns.SCORE].to_pylist()[0]
    assert top[2] == top[3]


def test_a_users_scores_do_not_depend_on_the_others(
    trained_night: TrainedNight, ranker: Ranker, tmp_path: Path
) -> None:
    """Users without candidates get empty lists, and leave the others' scores as they were."""
    night = trained_night.night
    users, candidates = shard_of_night(trained_night)
    scorer = make_scorer(ranker, night.extract, 777)
    before = scored_table(scorer, users, candidates).to_pylist()
    items = np.split(candidates.items.values, candidates.items.offsets[1:-1])
    scores = np.split(candidates.scores, candidates.items.offsets[1:-1])
    emptied = [0, 7, len(users) - 1]
    uri = str(tmp_path / "candidates.parquet")
    write_candidates(
        uri,
        users.ids,
        [[] if row in emptied else values.tolist() for row, values in enumerate(items)],
        [[] if row in emptied else values.tolist() for row, values in enumerate(scores)],
    )
    after = scored_table(scorer, users, read_candidates(uri, users)).to_pylist()
    for row, (one, other) in enumerate(zip(before, after, strict=True)):
        if row in emptied:
            assert all(values == [] for name, values in other.items() if name != columns.USER)
        else:
            np.testing.assert_allclose(one[columns.SCORE], other[columns.SCORE], rtol=1e-4, atol=1e-5)


def test_candidates_of_a_version_without_a_source_are_read(trained_night: TrainedNight, tmp_path: Path) -> None:
    """The ranker learns from candidates of a week ago: after an upgrade, from what the last version wrote."""
    users, candidates = shard_of_night(trained_night)
    stored = pl.read_parquet(trained_night.night.search.uri("candidates", columns.part_name(0)))
    stored.drop(columns.source_score("ease")).write_parquet(tmp_path / "earlier.parquet")
    read = read_candidates(str(tmp_path / "earlier.parquet"), users)
    assert (read.by_source["ease"] == 0).all()
    assert (read.by_source["towers"] == candidates.by_source["towers"]).all()
    assert [columns.source_bit(name) for name in ("towers", "new", "fill")] == [1, 16, 32]


def test_users_without_candidates_are_counted(trained_night: TrainedNight, tmp_path: Path) -> None:
    night = trained_night.night
    search = planted_candidates(night.extract, tmp_path, seed=3)
    users = pq.read_table(search.uri("candidates", columns.part_name(1)))[columns.USER]
    write_candidates(search.uri("candidates", columns.part_name(1)), users, [[]] * len(users), [[]] * len(users))
    inputs = night.inputs(rank__train=trained_night.trained, retrieve__search=search)
    made = stage.run(inputs, night.settings, night.out("rank/score", "empty"))
    warned = {check.name: check for check in made.checks}["users_with_candidates"]
    assert not warned.passed
    assert warned.severity == "warn"
    assert warned.value == len(users)
    empty = pq.read_table(made.uri("scored", columns.part_name(1)))
    assert empty[columns.ITEM_INDEX].to_pylist() == [[]] * len(users)


def test_scores_that_are_not_finite_stop_the_night(trained_night: TrainedNight, ranker: Ranker) -> None:
    users, candidates = shard_of_night(trained_night)
    scorer = make_scorer(ranker, trained_night.night.extract, 1000)
    encoded = scorer.encoded_items
    broken = replace(scorer, encoded_items=replace(encoded, rest=encoded.rest * np.nan))
    with pytest.raises(ModelError, match=r"not finite for \d+ of \d+ pairs"):
        scored_table(broken, users, candidates)


def test_other_features_than_the_rankers_stop_the_night(trained_night: TrainedNight, ranker: Ranker) -> None:
    spec = replace(ranker.about.spec, windows=(1, 7))
    with pytest.raises(ModelError, match="trained on other item features"):
        make_scorer(replace(ranker, about=replace(ranker.about, spec=spec)), trained_night.night.extract, 1000)


def test_a_missing_part_of_candidates_is_refused(trained_night: TrainedNight, tmp_path: Path) -> None:
    night = trained_night.night
    search = planted_candidates(night.extract, tmp_path, seed=3)
    Path(search.uri("candidates", columns.part_name(1))).unlink()
    inputs = night.inputs(rank__train=trained_night.trained, retrieve__search=search)
    with pytest.raises(ContractError, match="1 parts of candidates"):
        stage.run(inputs, night.settings, night.out("rank/score", "missing"))


def test_a_ranker_that_cannot_be_loaded_gives_up(trained_night: TrainedNight, tmp_path: Path) -> None:
    """With our own error, though a worker raised it: Beam's would be taken for a crash and tried again."""
    night, trained = trained_night.night, trained_night.trained
    model = tmp_path / WEIGHTS_FILE
    model.write_bytes(b"cut")
    (tmp_path / ABOUT_FILE).write_bytes((Path(trained.folder) / ABOUT_FILE).read_bytes())
    inputs = night.inputs(rank__train=trained.model_copy(update={"folder": str(tmp_path)}))
    out = night.out("rank/score", "unloadable")
    with pytest.raises(ModelError, match="the ranker can't be loaded") as told:
        stage.run(inputs, night.settings, out)
    assert told.value.details == {"uri": str(model)}
    assert not list(Path(out.folder).rglob("*.pickle"))


def test_an_empty_shard_has_an_empty_part(trained_night: TrainedNight, ranker: Ranker) -> None:
    users, candidates = shard_of_night(trained_night)
    nobody = pa.array([], pa.string())
    none = replace(
        users,
        ids=nobody,
        scalars=users.scalars.clear(),
        **{name: empty(getattr(users, name)) for name in ("history_item", "history_time", "pair_item")},
        **{name: getattr(users, name)[:0] for name in ("pair_type", "pair_count", "pair_last")},
    )
    no_candidates = Candidates(
        empty(candidates.items),
        candidates.scores[:0],
        candidates.sources[:0],
        {name: scores[:0] for name, scores in candidates.by_source.items()},
    )
    table = scored_table(make_scorer(ranker, trained_night.night.extract, 1000), none, no_candidates)
    assert table.num_rows == 0
    assert table.schema.equals(columns.scored_schema(("click", "purchase")))


def empty(column: object) -> object:
    return replace(column, values=column.values[:0], offsets=np.zeros(1, np.int64))  # type: ignore[type-var, attr-defined]
