"""Small problems by hand: events as (user row, item, day), the truth as (user row, item)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from benchmarks.quality.problem import SECONDS_A_DAY, Events, Problem, Truth
from recjobs.evaluate.items import Items

Triple = tuple[int, int, int]


def events_of(triples: Sequence[Triple]) -> Events:
    ordered = sorted(triples, key=lambda triple: (triple[0], triple[2]))
    user, item, day = np.array(ordered, np.int64).reshape(-1, 3).T
    return Events(user.astype(np.int32), item.astype(np.int32), day * SECONDS_A_DAY)


def problem_of(
    history: Sequence[Triple],
    truth: Sequence[tuple[int, int]] = (),
    *,
    users: int,
    items: int,
    now: int = 100,
    trained: Sequence[Triple] | None = None,
    eligible: Sequence[bool] | None = None,
) -> Problem:
    rows = np.array(sorted(truth), np.int64).reshape(-1, 2)
    return Problem(
        name="by hand",
        users=pl.Series([f"u{row}" for row in range(users)]),
        items=Items(
            item_id=pl.Series([None, *(f"i{item}" for item in range(1, items + 1))], dtype=pl.String),
            title=pl.Series([None, *(f"i{item}" for item in range(1, items + 1))], dtype=pl.String),
            eligible=np.r_[False, np.ones(items, np.bool_) if eligible is None else np.array(eligible)],
            popularity=np.zeros(items + 1),
        ),
        trained=events_of(history if trained is None else trained),
        history=events_of(history),
        now=now * SECONDS_A_DAY,
        truth=Truth(rows[:, 0], rows[:, 1]),
    )
