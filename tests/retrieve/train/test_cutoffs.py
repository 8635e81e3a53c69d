"""Training knows the events until `train_until`, whichever way states' `history_until` lies from it."""

from __future__ import annotations

import tempfile
from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recjobs import columns as c
from recjobs import storage
from recjobs.extract import stage as extract_stage
from recjobs.manifest import Manifest
from recjobs.retrieve.train.blueprint import Blueprint, blueprint
from recjobs.settings import Settings
from tests.extract.streams import FIRST, WORLD_BY_WORLD, Event, World, deliver, extract, moment, settings, without_beam
from tests.retrieve.nights import train

DAYS = 8
DS = FIRST + timedelta(days=DAYS - 1)
ITEMS = ("a", "b", "c", "d", "e")
SNAPSHOT = [{"item_id": name, "title": f"thing {name}", "price": 2.0 + place} for place, name in enumerate(ITEMS)]
SMALL: dict[str, Any] = {
    "retrieve__train__encoder": "mean",
    "retrieve__train__embedding_size": 8,
    "retrieve__train__epochs": 1,
}


@pytest.fixture(autouse=True)
def _in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract_stage, "run_pass", without_beam)


def had(user: str, item: str, day: int) -> Event:
    return Event(user, item, "view", moment(day, 3600), day, f"{user} {item} {day}")


def extracted(folder: Path, events: list[Event], **overrides: Any) -> tuple[Manifest, Settings]:
    deliver(folder, World(events, SNAPSHOT), DAYS)
    config = settings(folder, **(SMALL | overrides))
    return extract(folder, config, DS), config


FEW_THEN_ALL = [
    *(had(user, item, day) for day, item in enumerate(ITEMS[:3]) for user in ("ann", "bob", "cy")),
    *(had(user, item, DAYS - 2) for item in ITEMS for user in ("ann", "bob")),
]
"""Until the last days three items are had; the day before the last, all."""


@pytest.mark.parametrize(
    ("objective", "train_lag", "history_lag", "warm"), [("full", 0, 3, 5), ("sampled", 0, 3, 5), ("full", 3, 0, 3)]
)
def test_each_lag_may_be_the_longer_one(
    tmp_path: Path, objective: str, train_lag: int, history_lag: int, warm: int
) -> None:
    lags = {"time__train_lag_days": train_lag, "time__history_lag_days": history_lag}
    extract, config = extracted(tmp_path, FEW_THEN_ALL, **lags, retrieve__train__objective=objective)
    trained = train(extract, config, tmp_path / "train")
    assert (trained.rows["items"], trained.rows["warm_items"]) == (5, warm)
    assert np.isfinite(trained.metrics["loss"])


def test_an_item_first_had_after_training_is_last_and_counts_nothing_there(tmp_path: Path) -> None:
    extract, config = extracted(tmp_path, FEW_THEN_ALL, time__train_lag_days=3)
    items = pl.read_parquet(extract.uri("items.parquet"))
    assert items.select(c.ITEM, c.TRAIN_EVENTS, c.N_EVENTS).rows() == [
        ("a", 3, 5),
        ("b", 3, 5),
        ("c", 3, 5),
        ("d", 0, 2),
        ("e", 0, 2),
    ]
    features = blueprint(extract, config, extract.cutoffs.train_until).features
    assert features.counts.tolist() == [0, 3, 3, 3, 0, 0]


@st.composite
def futures(draw: st.DrawFn) -> list[Event]:
    """What happens in the last three days."""
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["ann", "bob", "cy", "dan"]), st.sampled_from(ITEMS), st.integers(DAYS - 3, DAYS - 1)
            ),
            max_size=12,
            unique=True,
        )
    )
    return [had(*row) for row in rows]


@given(either=st.tuples(futures(), futures()), history_lag=st.integers(0, 2))
@hypothesis_settings(WORLD_BY_WORLD, max_examples=6)
def test_what_happens_after_training_changes_nothing_that_it_reads(
    either: tuple[list[Event], list[Event]], history_lag: int
) -> None:
    read = []
    for future in either:
        with tempfile.TemporaryDirectory() as name:
            past = [event for event in FEW_THEN_ALL if event.arrived < DAYS - 3]
            extract, config = extracted(
                Path(name), [*past, *future], time__train_lag_days=3, time__history_lag_days=history_lag
            )
            plan = blueprint(extract, config, extract.cutoffs.train_until)
            sequences = {part.name: storage.read_bytes(part.uri) for part in extract.parts("sequences")}
            read.append((bits_of(plan), sequences))
    assert read[0] == read[1]


def bits_of(plan: Blueprint | Any) -> Any:
    """A dataclass of arrays as comparable values, bit for bit."""
    if is_dataclass(plan):
        return {field.name: bits_of(getattr(plan, field.name)) for field in fields(plan)}
    if isinstance(plan, np.ndarray):
        return plan.shape, str(plan.dtype), plan.tobytes()
    return [bits_of(part) for part in plan] if isinstance(plan, tuple) else plan
