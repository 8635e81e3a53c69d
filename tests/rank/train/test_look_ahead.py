"""The ranker learns from nothing that came after what it is to foresee.

Its features and candidates are those of the earlier night, its outcomes those of the label window. Whatever is
delivered after the earlier night is shifted, altered or planted here, through the real extract of both nights and the
real `rank/train` up to the training itself: the inputs stay the same to the byte, labels change inside the window only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recjobs import columns as c
from recjobs.errors import ModelError
from recjobs.extract import stage as extract_stage
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.rank.block import Block
from recjobs.rank.states import end_of
from recjobs.rank.train import pipeline, stage
from recjobs.rank.train.examples import Examples
from recjobs.rank.train.outcomes import NEVER
from recjobs.settings import Settings
from tests.extract.streams import (
    FIRST,
    extract,
    settings_from,
    without_beam,
    write,
)
from tests.rank.planted_candidates import planted_candidates

USERS, ITEMS = 30, 12
LAST, EARLIER, UNTIL = 7, 5, 6
"""Days after FIRST: tonight; the earlier night, two label days before; the last day that models may learn from."""
CONFIG = """
dataset = "streams"
root = "{folder}"

[time]
label_days = 2
train_lag_days = 1
window_days = 30
late_days = 3

[events]
path = "{folder}/events"

[events.types.view]
task = "click"

[events.types.buy]
task = "purchase"
weight = 4.0

[items]
path = "{folder}/items"
categorical = ["colour"]
numeric = ["weight"]

[users]
path = "{folder}/users"
numeric = ["age"]

[beam]
shards = 2

[extract]
count_windows = [1, 3, 7]
quarantine_limit = 1.0
"""
FEW = {"rank__train__negatives_per_user": 2, "rank__train__judged_users": 2}
EXAMPLES = ("user", "item", "weight", "standard_score", "judged", "fold", "window")


@dataclass(frozen=True)
class World:
    """What was delivered: events with their day of arrival, and snapshots by their day."""

    events: pl.DataFrame
    items: dict[int, pl.DataFrame]
    users: dict[int, pl.DataFrame]


@dataclass(frozen=True)
class Learnt:
    """What the training was given."""

    examples: Examples
    items: Block

    def inputs(self) -> dict[str, np.ndarray]:
        """All but the outcomes."""
        blocks = {"users": self.examples.users, "pairs": self.examples.pairs, "items": self.items}
        arrays = {
            f"{name}.{part}": getattr(block, part) for name, block in blocks.items() for part in ("dense", "sparse")
        }
        return arrays | {name: getattr(self.examples, name) for name in EXAMPLES}

    def changed(self, other: Learnt) -> list[str]:
        """Which inputs differ."""
        ours, theirs = self.inputs(), other.inputs()
        return [name for name, values in ours.items() if not np.array_equal(values, theirs[name])]


def start_of(day: int) -> int:
    return end_of(FIRST + timedelta(days=day - 1))


def the_world() -> World:
    """Every user views something on each day, and buys now and then; snapshots of the first and the last three days."""
    random = np.random.default_rng(3)
    user, day = (grid.ravel() for grid in np.meshgrid(np.arange(USERS), np.arange(LAST + 1), indexing="ij"))
    user, day = np.repeat(user, 2), np.repeat(day, 2)
    seconds = random.integers(0, 86_400, len(user))
    events = pl.DataFrame(
        {
            c.USER: [f"u{number:02d}" for number in user],
            c.ITEM: [f"i{number:02d}" for number in random.integers(0, ITEMS, len(user))],
            c.EVENT_TYPE: np.where(random.random(len(user)) < 0.3, "buy", "view"),
            "second": [start_of(number) for number in day.tolist()] + seconds,
            "arrived": day,
        }
    )
    snapshots = (0, EARLIER, UNTIL, LAST)
    return World(events, {day: item_snapshot(day) for day in snapshots}, {day: user_snapshot(day) for day in snapshots})


def item_snapshot(day: int) -> pl.DataFrame:
    numbers = range(ITEMS)
    return pl.DataFrame(
        {
            c.ITEM: [f"i{number:02d}" for number in numbers],
            c.TITLE: [f"thing {number}" for number in numbers],
            c.PRICE: [1.0 + number + day for number in numbers],
            c.CATEGORY: [f"kind {number % 3}" for number in numbers],
            "colour": [("red", "blue")[number % 2] for number in numbers],
            "weight": [float(number * 10 + day) for number in numbers],
            c.AVAILABLE: [True] * ITEMS,
        }
    )


def user_snapshot(day: int) -> pl.DataFrame:
    numbers = range(USERS)
    return pl.DataFrame(
        {
            c.USER: [f"u{number:02d}" for number in numbers],
            c.COUNTRY: [("FR", "GB", "DE")[number % 3] for number in numbers],
            "age": [20 + number + day for number in numbers],
        }
    )


def delivered(world: World, folder: Path) -> None:
    complete = world.events.with_columns(
        pl.from_epoch(pl.col("second") * 1_000_000, "us").dt.replace_time_zone("UTC").alias(c.TIMESTAMP)
    )
    for (arrived,), rows in complete.group_by("arrived"):
        day = FIRST + timedelta(days=int(str(arrived)))
        write(rows.drop("second", "arrived"), folder / "events" / f"date={day}" / "rows.parquet")
    for kind, snapshots in (("items", world.items), ("users", world.users)):
        for number, frame in snapshots.items():
            write(frame, folder / kind / f"{FIRST + timedelta(days=number)}.parquet")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Beam is not the point."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run_pass", without_beam)
        for name in [name for name in vars(extract_stage) if name == "run_pass"]:
            patch.setattr(extract_stage, name, without_beam)
        yield


def learnt(world: World, folder: Path, **overrides: Any) -> Learnt:
    """Both nights' extract, the earlier night's candidates, and what `rank/train` would then learn from."""
    delivered(world, folder)
    everything: dict[str, Any] = {"rank__train__negatives_per_user": 1000, **overrides}
    config = settings_from(CONFIG, folder, **everything)
    earlier, tonight = (extract(folder, config, FIRST + timedelta(days=day), f"day{day}") for day in (EARLIER, LAST))
    # All items are candidates and everybody has an outcome: whichever they are, the same pairs are taken.
    search = planted_candidates(earlier, folder, seed=1, each=ITEMS)
    return given(config, earlier, tonight, search, folder)


def given(config: Settings, earlier: Manifest, tonight: Manifest, search: Manifest, folder: Path) -> Learnt:
    seen: list[Learnt] = []

    def stop(examples: Examples, items: Block, *_: object) -> None:
        seen.append(Learnt(examples, items))
        raise ModelError("seen enough")

    manifests = {"extract": tonight, "earlier/extract": earlier, "earlier/retrieve/search": search}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "train", stop)
        out = Output("rank/train", tonight.ds, "run", tonight.cutoffs, str(folder / "rank"))
        with pytest.raises(ModelError, match="seen enough"):
            stage.run(Inputs(tonight.ds, tonight.cutoffs, manifests), config, out)
    return seen[0]


# -- what is done to the future. `day`: from the day after it on


def altered(day: int, world: World) -> World:
    """Other items, types and times of the day."""
    late = pl.col("arrived") > day
    start = (pl.col("second") // 86_400) * 86_400
    return replace(
        world,
        events=world.events.with_columns(
            pl.when(late).then(pl.lit("i03")).otherwise(c.ITEM).alias(c.ITEM),
            pl.when(late).then(pl.lit("buy")).otherwise(c.EVENT_TYPE).alias(c.EVENT_TYPE),
            pl.when(late).then(start + (pl.col("second") * 7919) % 86_400).otherwise("second").alias("second"),
        ),
    )


def shifted(day: int, world: World) -> World:
    """Every user's events are the next user's."""
    late = pl.col("arrived") > day
    following = pl.col(c.USER).replace_strict({f"u{n:02d}": f"u{(n + 1) % USERS:02d}" for n in range(USERS)})
    return replace(
        world, events=world.events.with_columns(pl.when(late).then(following).otherwise(c.USER).alias(c.USER))
    )


def planted(day: int, world: World) -> World:
    """A new item and an old one that everybody buys, and a new user who buys everything."""
    names = [f"u{number:02d}" for number in range(USERS)]
    who = [*names, *names, *["new"] * ITEMS]
    what = [*["fresh"] * USERS, *["i00"] * USERS, *(f"i{number:02d}" for number in range(ITEMS))]
    rows = pl.DataFrame({c.USER: who, c.ITEM: what}).with_columns(
        pl.lit("buy").alias(c.EVENT_TYPE),
        pl.lit(start_of(day + 1) + 5).alias("second"),
        pl.lit(day + 1, pl.Int64).alias("arrived"),
    )
    return replace(world, events=pl.concat([world.events, rows], how="vertical_relaxed"))


def gone(day: int, world: World) -> World:
    """The first of each user's events of a day is missing."""
    first = pl.int_range(pl.len()).over(c.USER, "arrived") == 0
    return replace(world, events=world.events.filter(~(first & (pl.col("arrived") > day))))


def told_late(day: int, world: World) -> World:
    """Events of before that are only delivered afterwards: nobody knew of them then."""
    rows = world.events.filter(pl.col("arrived") == day - 1).with_columns(
        pl.lit("i07").alias(c.ITEM), pl.lit(day + 1, pl.Int64).alias("arrived")
    )
    return replace(world, events=pl.concat([world.events, rows]))


def told_early(day: int, world: World) -> World:
    """Events of afterwards that are delivered before they happened, as by a wrong clock."""
    rows = world.events.filter(pl.col("arrived") == day + 1).with_columns(
        pl.lit("i07").alias(c.ITEM), pl.lit(day, pl.Int64).alias("arrived")
    )
    return replace(world, events=pl.concat([world.events, rows]))


def items_changed(day: int, world: World) -> World:
    """Prices, kinds, colours, titles and availability of later snapshots."""
    changed = [
        (pl.col(c.PRICE) * 9).alias(c.PRICE),
        pl.lit("other").alias(c.CATEGORY),
        pl.lit("green").alias("colour"),
        pl.lit("other").alias(c.TITLE),
        pl.lit(-5.0).alias("weight"),
        (pl.col(c.ITEM) > "i05").alias(c.AVAILABLE),
    ]
    return replace(
        world, items={n: frame.with_columns(changed) if n > day else frame for n, frame in world.items.items()}
    )


def users_changed(day: int, world: World) -> World:
    """Countries and ages of later snapshots."""
    changed = [pl.lit("US").alias(c.COUNTRY), pl.lit(99).cast(pl.Int64).alias("age")]
    return replace(
        world, users={n: frame.with_columns(changed) if n > day else frame for n, frame in world.users.items()}
    )


CHANGES: list[Callable[[int, World], World]] = [
    altered, shifted, planted, gone, told_late, told_early, items_changed, users_changed
]  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    return learnt(the_world(), tmp_path_factory.mktemp("plain"))


def test_there_is_something_to_learn(plain: Learnt) -> None:
    assert len(plain.examples) == USERS * ITEMS
    happened = plain.examples.first[plain.examples.first < NEVER]
    assert len(happened) > USERS
    assert start_of(EARLIER + 1) <= happened.min() < happened.max() < start_of(UNTIL + 1)
    varied = plain.examples.pairs.dense.std(axis=0) > 0
    assert varied.sum() > 20


@pytest.mark.parametrize("change", CHANGES)
def test_what_comes_after_the_earlier_night_is_no_input(
    plain: Learnt, tmp_path: Path, change: Callable[[int, World], World]
) -> None:
    other = learnt(change(EARLIER, the_world()), tmp_path)
    assert plain.changed(other) == []
    happened = other.examples.first[other.examples.first < NEVER]
    assert start_of(EARLIER + 1) <= happened.min()
    assert happened.max() < start_of(UNTIL + 1)
    # What is of the wrong day is quarantined.
    no_outcome = change in (items_changed, users_changed, told_late, told_early)
    assert np.array_equal(plain.examples.first, other.examples.first) == no_outcome


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    return learnt(the_world(), tmp_path_factory.mktemp("sampled"), **FEW)


@pytest.mark.parametrize("change", [altered, shifted, planted, gone])
def test_what_comes_after_train_until_is_no_outcome_and_no_reason_to_sample(
    sampled: Learnt, tmp_path: Path, change: Callable[[int, World], World]
) -> None:
    other = learnt(change(UNTIL, the_world()), tmp_path, **FEW)
    assert len(sampled.examples) < USERS * ITEMS
    assert sampled.changed(other) == []
    np.testing.assert_array_equal(sampled.examples.first, other.examples.first)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (altered, {"users.dense", "pairs.dense", "items.dense"}),
        (items_changed, {"items.dense"}),
        (users_changed, {"users.dense"}),
    ],
)
def test_the_same_a_day_earlier_would_be_seen(
    plain: Learnt, tmp_path: Path, change: Callable[[int, World], World], expected: set[str]
) -> None:
    """So that the tests above can fail: what reached the earlier night changes its inputs."""
    other = learnt(change(EARLIER - 1, the_world()), tmp_path)
    assert expected <= set(plain.changed(other))
