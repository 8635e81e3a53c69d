"""A second night carried on from the planted one: ids come, go and change places."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from recjobs import columns
from recjobs.errors import CorruptFileError, ModelError
from recjobs.flow import STAGES
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.retrieve.train import stage
from recjobs.retrieve.train import warm as warm_start
from recjobs.retrieve.train.checkpoint import Checkpoint, read_checkpoint
from recjobs.retrieve.train.curves import Curves, Epoch
from recjobs.retrieve.train.fit import Trainer
from recjobs.settings import Settings
from tests.planted import planted_extract
from tests.retrieve.nights import (
    PLANTED,
    TRAIN,
    Night,
    search,
    settings_of,
    share_of_own_group,
    warm_events,
)

GONE_USERS, NEW_USERS = range(5), range(135, 140)
GONE_ITEMS, NEW_ITEMS = range(3), range(54, 57)
NEXT = replace(PLANTED, ds=PLANTED.ds + timedelta(days=1))
SMALL = {"retrieve__train__warm_share": 0.2, "retrieve__train__batch_size": 16}


def names(prefix: str, numbers: range) -> list[str]:
    return [f"{prefix}{number:04d}" for number in numbers]


def next_events() -> pl.DataFrame:
    """The events of the night before without those of who and what is gone; on the next day, users view their own
    group, new users and new items among them."""
    users = [number for number in (*range(20, 80), *NEW_USERS) for _ in range(3)]
    items = [user % 3 + 3 * (3 + step % 15) for step, user in enumerate(users)]
    items += NEW_ITEMS
    users += [item % 3 + 30 for item in NEW_ITEMS]
    noon = datetime(NEXT.ds.year, NEXT.ds.month, NEXT.ds.day, 12, tzinfo=UTC)
    day = pl.DataFrame(
        {
            columns.USER: [f"u{user:04d}" for user in users],
            columns.ITEM: [f"i{item:04d}" for item in items],
            columns.EVENT_TYPE: ["view"] * len(users),
            columns.TIMESTAMP: [noon + timedelta(seconds=step) for step in range(len(users))],
        },
        schema_overrides={columns.TIMESTAMP: pl.Datetime("us", "UTC")},
    )
    kept = warm_events().filter(
        ~pl.col(columns.USER).is_in(names("u", GONE_USERS)) & ~pl.col(columns.ITEM).is_in(names("i", GONE_ITEMS))
    )
    return pl.concat([kept, day.select(kept.columns)])


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The next night's extract; the title tokens have changed places, as counts change."""
    made = planted_extract(tmp_path_factory.mktemp("next"), NEXT, events=next_events())
    turned = {1: 3, 2: 1, 3: 2}
    items = pl.read_parquet(made.uri("items.parquet"))
    tokens = pl.col(columns.TITLE_TOKENS).list.eval(pl.element().replace_strict(turned, return_dtype=pl.Int32))
    items.with_columns(tokens).write_parquet(made.uri("items.parquet"))
    vocabulary = pl.read_parquet(made.uri("vocabulary.parquet"))
    index = pl.col(columns.VOCABULARY_INDEX)
    is_token = pl.col(columns.VOCABULARY_COLUMN) == columns.TOKEN
    again = pl.when(is_token).then(index.replace(turned)).otherwise(index).cast(pl.Int32)
    vocabulary.with_columns(again.alias(columns.VOCABULARY_INDEX)).write_parquet(made.uri("vocabulary.parquet"))
    return made


def carry_on(
    night: Night, extract: Manifest, folder: Path, trained: Manifest | None = None, **overrides: Any
) -> Manifest:
    """`retrieve/train` of the next night, with the night before pinned."""
    settings: Settings = settings_of(folder, **(SMALL | overrides))
    pinned = {"extract": extract, "previous/extract": night.extract, "previous/retrieve/train": trained or night.train}
    out = Output("retrieve/train", extract.ds, "r", extract.cutoffs, str(folder))
    return stage.run(Inputs(extract.ds, extract.cutoffs, pinned), settings.view(STAGES[TRAIN].sections), out)


def not_at_all(*_: Any, **__: Any) -> Curves:
    """In place of training: the towers stay as they are before the first step."""
    return Curves([1.0], [Epoch(1, 1.0, 1.0, 0.0, 1.0)], 1)


@pytest.fixture(scope="module")
def carried(night: Night, extract: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The warm night as it is before its first step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", not_at_all)
        return carry_on(night, extract, tmp_path_factory.mktemp("carried"))


@pytest.fixture(scope="module")
def warm(night: Night, extract: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The warm night."""
    return carry_on(night, extract, tmp_path_factory.mktemp("warm"))


def index_of(extract: Manifest, kind: str) -> dict[str, int]:
    """Ids with a row, and which."""
    if kind == "user":
        users = pl.concat([pl.read_parquet(part.uri) for part in extract.parts("users")])
        return {name: row for name, row in users[[columns.USER, columns.USER_INDEX]].rows() if row}
    if kind == "token":
        frame = pl.read_parquet(extract.uri("vocabulary.parquet"))
        frame = frame.filter(pl.col(columns.VOCABULARY_COLUMN) == columns.TOKEN)
        return dict(frame[[columns.VOCABULARY_VALUE, columns.VOCABULARY_INDEX]].rows())
    items = pl.read_parquet(extract.uri("items.parquet")).filter(pl.col(columns.N_EVENTS) > 0)
    return dict(items[[columns.ITEM, columns.ITEM_INDEX]].rows())


def tables(checkpoint: Checkpoint, name: str) -> dict[str, npt.NDArray[Any]]:
    """A table and its moments."""
    return {"weights": checkpoint.weights[name], **checkpoint.moments[name]}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("item", "items-id_embedding"), ("user", "users-user_embedding"), ("token", "items-content-token_embedding")],
)
def test_a_known_id_keeps_its_row_and_its_moments_bit_for_bit(
    kind: str, name: str, night: Night, extract: Manifest, carried: Manifest
) -> None:
    old, new = index_of(night.extract, kind), index_of(extract, kind)
    before, after = (tables(read_checkpoint(one), name) for one in (night.train, carried))
    common = old.keys() & new.keys()
    assert any(old[one] != new[one] for one in common)
    assert before.keys() == after.keys() == {"weights", "m", "v"}
    for slot in before:
        for one in common:
            assert after[slot][new[one]].tobytes() == before[slot][old[one]].tobytes(), (slot, one)
        assert after[slot][0].tobytes() == before[slot][0].tobytes()
    for one in new.keys() - old.keys():
        assert not after["m"][new[one]].any()
        assert not after["v"][new[one]].any()


def test_all_that_has_no_ids_is_taken_over_as_it_was(night: Night, carried: Manifest) -> None:
    before, after = read_checkpoint(night.train), read_checkpoint(carried)
    assert after.weights.keys() == before.weights.keys()
    assert after.steps == before.steps > 0
    without = [name for name in before.weights if name.rpartition("-")[2] not in warm_start.ROWS]
    assert {"users-side_embedding-country", "items-content-hash_embedding"} < set(without)
    for name in without:
        assert after.weights[name].tobytes() == before.weights[name].tobytes(), name
        for slot, moment in before.moments.get(name, {}).items():
            assert after.moments[name][slot].tobytes() == moment.tobytes(), (name, slot)


def test_a_new_item_starts_as_the_mean_of_its_kind_and_a_new_user_as_the_unknown_one(
    night: Night, extract: Manifest, carried: Manifest
) -> None:
    weights = read_checkpoint(carried).weights
    table, items = weights["items-id_embedding"], index_of(extract, "item")
    old = index_of(night.extract, "item")
    means = [
        np.mean([table[row] for name, row in items.items() if name in old and int(name[1:]) % 3 == group], axis=0)
        for group in range(3)
    ]
    new = items.keys() - old.keys()
    assert new == set(names("i", NEW_ITEMS))
    for name in new:
        nearest = np.argmin([np.linalg.norm(table[items[name]] - mean) for mean in means])
        assert nearest == int(name[1:]) % 3
    users, rows = index_of(extract, "user"), weights["users-user_embedding"]
    fresh = users.keys() - index_of(night.extract, "user").keys()
    assert fresh == set(names("u", NEW_USERS))
    assert all(rows[users[name]].tobytes() == rows[0].tobytes() for name in fresh)


def test_the_manifest_counts_the_nights_and_tells_the_rows(warm: Manifest, night: Night) -> None:
    assert night.train.metrics["warm_nights"] == night.train.metrics["drift"] == 0
    assert not night.train.notes
    assert (warm.metrics["warm_nights"], warm.metrics["drift"]) == (1, 0)
    assert warm.metrics["reference_lift"] > 1.5
    assert "item 51 kept, 3 new, 3 retired" in warm.notes[0]
    assert "user 130 kept, 5 new, 5 retired" in warm.notes[0]
    epochs = len(json.loads(Path(warm.uri("curves.json")).read_text())["epochs"])
    assert epochs * warm.rows["windows"] <= 0.25 * 12 * night.train.rows["windows"]


def test_a_warm_night_serves_those_who_are_new(extract: Manifest, warm: Manifest, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, **SMALL)
    found = Night(settings, extract, warm, search(extract, warm, settings, tmp_path))
    groups = found.group_of_item()
    assert share_of_own_group(found.candidates(), groups, range(20, 120)) > 0.8
    assert share_of_own_group(found.candidates(), groups, NEW_USERS) > 0.8


def test_the_same_night_again_is_the_same(night: Night, extract: Manifest, warm: Manifest, tmp_path: Path) -> None:
    again = carry_on(night, extract, tmp_path)
    first, second = (read_checkpoint(one).weights for one in (warm, again))
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    assert (again.metrics, again.notes) == (warm.metrics, warm.notes)


def test_a_chain_that_has_lost_its_way_shows_as_drift(
    night: Night, extract: Manifest, warm: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shuffled(trained: Manifest) -> Checkpoint:
        found = read_checkpoint(trained)
        random = np.random.default_rng(0)
        lost = {name: random.permutation(table) for name, table in found.weights.items()}
        return replace(found, weights=lost)

    monkeypatch.setattr(warm_start, "read_checkpoint", shuffled)
    monkeypatch.setattr(Trainer, "fit", not_at_all)
    second = night.train.model_copy(update={"metrics": warm.metrics})
    lost = carry_on(night, extract, tmp_path, trained=second)
    assert lost.metrics["warm_nights"] == 2
    assert lost.metrics["drift"] > settings_of(tmp_path).retrieve.train.drift_limit
    assert lost.metrics["reference_lift"] == warm.metrics["reference_lift"]


def test_who_was_forgotten_comes_back_as_anybody_new(
    night: Night, extract: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = index_of(night.extract, "user")
    read = pl.read_parquet
    monkeypatch.setattr(Trainer, "fit", not_at_all)

    def without(source: Any, **options: Any) -> pl.DataFrame:
        frame = read(source, **options)
        here = str(getattr(source, "name", source))
        if columns.USER in frame.columns and night.extract.folder in here:
            return frame.filter(pl.col(columns.USER) != "u0042")
        return frame

    monkeypatch.setattr(pl, "read_parquet", without)
    done = carry_on(night, extract, tmp_path)
    monkeypatch.undo()
    rows, tonight = read_checkpoint(done).weights["users-user_embedding"], index_of(extract, "user")
    assert rows[tonight["u0042"]].tobytes() == rows[0].tobytes()
    assert read_checkpoint(night.train).weights["users-user_embedding"][known["u0042"]].tobytes() != rows[0].tobytes()
    assert "user 129 kept, 6 new, 6 retired" in done.notes[0]


def test_no_user_is_named_in_what_is_written(warm: Manifest) -> None:
    for path in Path(warm.folder).rglob("*"):
        assert path.is_dir() or b"u0042" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("embedding_size", 8, "embedding_size was 16, is 8"),
        ("encoder", "mean", "encoder was 'attention', is 'mean'"),
        ("optimizer", "adagrad", "optimizer was 'adam', is 'adagrad'"),
    ],
)
def test_towers_of_other_settings_are_refused(
    setting: str, value: Any, told: str, night: Night, extract: Manifest, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=told):
        carry_on(night, extract, tmp_path, **{f"retrieve__train__{setting}": value})


def test_a_checkpoint_that_is_none_is_refused(night: Night, extract: Manifest, tmp_path: Path) -> None:
    broken = night.train.model_copy(update={"folder": str(tmp_path / "broken")})
    (tmp_path / "broken" / "checkpoint").mkdir(parents=True)
    (tmp_path / "broken" / "checkpoint" / "weights.json").write_text("{}")
    with pytest.raises(CorruptFileError, match="not a checkpoint that a warm start can go on from"):
        carry_on(night, extract, tmp_path, trained=broken)


def test_a_column_with_its_first_values_means_a_full_training(
    night: Night, extract: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrower(trained: Manifest) -> Checkpoint:
        found = read_checkpoint(trained)
        kernel = found.weights["items-content-numeric-kernel"]
        return replace(found, weights={**found.weights, "items-content-numeric-kernel": kernel[:-1]})

    monkeypatch.setattr(warm_start, "read_checkpoint", narrower)
    done = carry_on(night, extract, tmp_path, retrieve__train__epochs=1)
    assert done.metrics["warm_nights"] == 0
    assert done.rows["windows"] == 135
    assert (
        "trained in full, not carried on from 2026-03-31: items-content-numeric-kernel was [3, 16], is [4, 16]"
        in done.notes[0]
    )
