"""`rank/train` on planted nights."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recjobs import columns, storage
from recjobs.errors import ContractError, MissingInputError, ModelError
from recjobs.manifest import Inputs
from recjobs.rank.features import feature_spec
from recjobs.rank.ranker import load_ranker
from recjobs.rank.states import end_of
from recjobs.rank.train import stage
from recjobs.rank.train.examples import Examples
from recjobs.rank.train.outcomes import NEVER, Window, label_window
from recjobs.rank.train.pipeline import ExampleSources, all_examples, window_examples
from tests.planted import planted_events
from tests.rank.conftest import TrainedNight
from tests.rank.planted_candidates import NIGHT, Night, planted_night

SMALL = replace(NIGHT, users=60, events_per_user=16)
ONE_TASK = {
    "events__types": {"view": {"task": "interaction"}, "purchase": {"task": "interaction"}},
    "rank__train__epochs": 1,
}


def sources_of(night: Night, window: Window | None = None) -> ExampleSources:
    window = window or label_window(night.earlier, end_of(night.planted.ds))
    return ExampleSources(night.extract, night.earlier, night.earlier_search, feature_spec(night.settings), window)


def examples_of(night: Night, window: Window | None = None) -> Examples:
    return window_examples(sources_of(night, window), night.settings, str(night.folder / "examples"))


def test_it_finds_the_taste_that_retrieval_order_lacks(trained_night: TrainedNight) -> None:
    trained = trained_night.trained
    ndcg = {name: trained.metrics[f"ndcg_{name}"] for name in ("retrieval", "ranker", "blend")}
    assert ndcg["ranker"] > ndcg["retrieval"] + 0.15
    assert ndcg["blend"] >= ndcg["ranker"]
    assert trained.metrics["blend_weight"] >= 0.5
    assert trained.metrics["auc_click"] > 0.75
    (check,) = trained.checks
    assert check.passed
    assert check.name == "ranker_beats_retrieval"


def test_it_writes_what_the_contract_says(trained_night: TrainedNight) -> None:
    trained = trained_night.trained
    metrics = json.loads(storage.read_bytes(trained.uri("metrics.json")))
    assert set(metrics["tasks"]) == {"click", "purchase"}
    assert {"auc", "log_loss", "calibration_error"} <= set(metrics["tasks"]["click"])
    assert metrics["blend_weight"] == trained.metrics["blend_weight"]
    assert storage.read_bytes(trained.uri("calibration.png")).startswith(b"\x89PNG")
    assert load_ranker(trained.folder).about.tasks == ("click", "purchase")
    assert not storage.list_files(trained.uri("examples"))


def test_the_calibrated_rate_is_the_observed_one(trained_night: TrainedNight) -> None:
    """Over all candidates of the earlier night the mean probability is about the share that had an outcome."""
    night, trained = trained_night.night, trained_night.trained
    examples, ranker = examples_of(night), load_ranker(trained.folder)
    users = ranker.encode("user", examples.users)
    items = ranker.encode("item", sources_of(night).item_table().block)
    found = ranker.probabilities(users, items, examples.user, examples.item, examples.pairs, 4096)
    weight = examples.weight / examples.weight.sum()
    np.testing.assert_allclose(weight @ found, weight @ (examples.first < NEVER), rtol=1e-3)


def test_the_saved_model_scores_as_the_one_in_memory(trained_night: TrainedNight) -> None:
    """Trained again in memory from the same examples: reproducible, and saving changes nothing."""
    night, trained = trained_night.night, trained_night.trained
    examples, items = examples_of(night), sources_of(night).item_table().block
    again = stage.train(examples, items, feature_spec(night.settings), night.settings).ranker
    saved = load_ranker(trained.folder)
    assert again.about == saved.about
    results = [
        ranker.probabilities(
            ranker.encode("user", examples.users),
            ranker.encode("item", items),
            examples.user,
            examples.item,
            examples.pairs,
            2048,
        )
        for ranker in (again, saved)
    ]
    np.testing.assert_array_equal(*results)


def test_with_random_outcomes_it_keeps_retrieval_order_and_warns(tmp_path: Path) -> None:
    night = planted_night(tmp_path, replace(NIGHT, loyalty=0.0), rank__train__epochs=2)
    trained = stage.run(night.inputs(), night.settings, night.out("rank/train"))
    (check,) = trained.checks
    assert trained.metrics["blend_weight"] == 0.0
    assert not check.passed
    assert check.severity == "warn"
    assert "which may be chance: lists keep retrieval order" in check.detail


def test_no_outcome_still_gives_a_valid_ranker(tmp_path: Path) -> None:
    quiet = planted_events(SMALL).filter(pl.col(columns.TIMESTAMP).dt.date() < SMALL.ds)
    night = planted_night(tmp_path, SMALL, events=quiet, rank__train__epochs=1)
    trained = stage.run(night.inputs(), night.settings, night.out("rank/train"))
    assert trained.rows["positives"] == 0
    assert trained.metrics["blend_weight"] == 0.0
    assert "0 candidates had an outcome" in trained.notes[0]
    assert not trained.checks[0].passed
    assert load_ranker(trained.folder).about.blend_weight == 0.0


def test_one_task_is_enough(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL, **ONE_TASK)
    trained = stage.run(night.inputs(), night.settings, night.out("rank/train"))
    assert load_ranker(trained.folder).about.tasks == ("interaction",)
    assert set(json.loads(storage.read_bytes(trained.uri("metrics.json")))["tasks"]) == {"interaction"}


def test_nothing_after_train_until_is_learnt(tmp_path: Path) -> None:
    """Two label days of which the second is hidden: changing the hidden events changes no example."""
    planted = replace(SMALL, label_days=2)
    hidden_from = planted.ds
    events = planted_events(planted)
    late = pl.col(columns.TIMESTAMP).dt.date() >= hidden_from
    shifted = events.with_columns(
        pl.when(late).then(pl.lit("i0001")).otherwise(pl.col(columns.ITEM)).alias(columns.ITEM),
        pl.when(late).then(pl.lit("purchase")).otherwise(pl.col(columns.EVENT_TYPE)).alias(columns.EVENT_TYPE),
    )
    nights = [
        planted_night(tmp_path / name, planted, events=kept)
        for name, kept in (("as_was", events), ("shifted", shifted))
    ]
    until = end_of(hidden_from - timedelta(days=1))
    hidden, told = (
        [examples_of(night, label_window(night.earlier, end)) for night in nights]
        for end in (until, end_of(planted.ds))
    )
    assert (hidden[0].first < NEVER).any()
    assert hidden[0].first[hidden[0].first < NEVER].max() < until
    for name in ("first", "weight", "user", "item"):
        np.testing.assert_array_equal(getattr(hidden[0], name), getattr(hidden[1], name))
    np.testing.assert_array_equal(hidden[0].pairs.dense, hidden[1].pairs.dense)
    assert told[0].first.shape != told[1].first.shape or (told[0].first != told[1].first).any()


def test_the_stage_takes_its_window_from_the_cutoffs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = replace(SMALL, label_days=3)
    night = planted_night(tmp_path, planted)
    given = night.inputs()
    cutoffs = given.cutoffs.model_copy(update={"train_until": planted.ds - timedelta(days=1)})
    seen: list[ExampleSources] = []

    def stop(windows: list[ExampleSources], *_: object) -> Examples:
        seen.extend(windows)
        raise ModelError("seen enough")

    monkeypatch.setattr(stage, "all_examples", stop)
    with pytest.raises(ModelError, match="seen enough"):
        stage.run(Inputs(given.ds, cutoffs, given.manifests), night.settings, night.out("rank/train"))
    assert seen[0].window == Window(end_of(planted.ds - timedelta(days=3)), end_of(planted.ds - timedelta(days=1)))


@pytest.mark.parametrize("earlier_shards", [1, 3])
def test_another_number_of_shards_the_night_before_loses_nothing(tmp_path: Path, earlier_shards: int) -> None:
    same = planted_night(tmp_path / "same", SMALL)
    other = planted_night(tmp_path / "other", SMALL, earlier_shards=earlier_shards)
    totals = [(examples_of(night).first < NEVER).sum() for night in (same, other)]
    assert totals[0] == totals[1] > 0


def test_candidates_of_other_users_are_refused(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    mixed = night.inputs()
    manifests = {**mixed.manifests, "earlier/extract": night.earlier, "earlier/retrieve/search": night.search}
    folder = Path(night.search.uri("candidates"))
    (folder / "part-00001.parquet").write_bytes((folder / "part-00000.parquet").read_bytes())
    with pytest.raises(ContractError, match=r"are not the .* users of the user states"):
        stage.run(Inputs(mixed.ds, mixed.cutoffs, manifests), night.settings, night.out("rank/train"))


def test_candidates_with_other_shards_than_their_users_are_refused(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    (Path(night.earlier_search.uri("candidates")) / "part-00001.parquet").unlink()
    with pytest.raises(ContractError, match=r"1 parts of candidates and .* 2 of users"):
        stage.run(night.inputs(), night.settings, night.out("rank/train"))


def test_a_missing_earlier_night_is_named(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL)
    without = {name: made for name, made in night.inputs().manifests.items() if name != "earlier/extract"}
    with pytest.raises(MissingInputError, match="'earlier/extract' was not pinned"):
        stage.run(Inputs(night.extract.ds, night.extract.cutoffs, without), night.settings, night.out("rank/train"))


def test_windows_lie_one_behind_the_other_and_each_points_into_its_own_items(tmp_path: Path) -> None:
    """The earlier night stands for the window before, too: it must give the same features, from rows further down."""
    night = planted_night(tmp_path, SMALL)
    last = sources_of(night)
    until = end_of(last.earlier.ds)
    before = replace(last, window=Window(until - 86_400, until), number=2)
    both, items = all_examples([last, before], night.settings, str(night.folder / "examples"))
    alone, size = examples_of(night), len(last.item_table().block)
    assert len(items) == 2 * size
    assert both.latest.sum() == len(alone)
    assert (both.item[both.latest] < size).all()
    assert (both.item[~both.latest] >= size).all()
    assert not both.judged[both.window == 2].any()
    assert (both.earliest[~both.latest] < until).any()
    assert both.earliest[both.latest].min() >= until


def test_an_earlier_window_is_learnt_from_and_the_last_judges(tmp_path: Path) -> None:
    night = planted_night(tmp_path, SMALL, rank__train__epochs=1)
    more = {"earlier__2__extract": night.earlier, "earlier__2__retrieve__search": night.earlier_search}
    trained = stage.run(night.inputs(**more), night.settings, night.out("rank/train"))
    assert trained.rows["windows"] == 2
    assert trained.rows["pairs"] > len(examples_of(night))
