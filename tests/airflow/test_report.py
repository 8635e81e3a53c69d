"""What the demo shows of its lists and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from recjobs import columns as c
from recjobs.airflow import report
from recjobs.airflow.report import Example
from recjobs.manifest import Manifest


def metric(name: str, kind: str, value: float, k: int = 10) -> dict[str, Any]:
    return {"metric": name, "list": kind, "value": value, "k": k}


def test_metrics_stand_beside_their_baselines() -> None:
    rows = [
        metric("recall", "recjobs", 0.2),
        metric("recall", "popularity", 0.1),
        metric("recall_low", "recjobs - popularity", 0.05),
        metric("coverage", "recjobs", 0.9, k=20),
    ]
    assert report.metric_rows(rows, ["recjobs", "popularity"]) == [["recall@10", 0.2, 0.1], ["coverage@20", 0.9, None]]


def test_the_users_shown_are_a_busy_one_one_in_the_middle_and_a_new_one(tmp_path: Path) -> None:
    parts = [{"b": 9, "new": 0, "d": 3}, {"a": 9, "c": 5}]
    for number, users in enumerate(parts):
        frame = pl.DataFrame({c.USER: list(users), c.N_EVENTS: list(users.values())})
        (tmp_path / "users").mkdir(exist_ok=True)
        frame.write_parquet(tmp_path / "users" / c.part_name(number))
    manifest = Manifest.model_construct(folder=str(tmp_path))
    assert report.examples(manifest) == [
        Example("a", "the busiest user", 9),
        Example("c", "a user in the middle", 5),
        Example("new", "a new user", 0),
    ]
