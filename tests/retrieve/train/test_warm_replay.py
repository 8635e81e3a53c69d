from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recjobs.manifest import Manifest
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.replay import Quota, quota, warm_course
from recjobs.retrieve.train.sequences import read_sequences, sequence_files, windows_of
from recjobs.retrieve.user_features import list_time
from tests.retrieve.nights import Night

CONFIG = RetrieveTrainConfig(
    sequence_length=4, epochs=4, batch_size=32, warm_share=0.25, warm_windows=1, warm_learning_rate=0.5
)


def widths_of(files: list[str], config: RetrieveTrainConfig) -> list[int]:
    """The length of every window that training cuts."""
    cut = windows_of(read_sequences(files), config.sequence_length, config.windows_per_user)
    return [int(length) for length in cut.length]


@given(budget=st.floats(1, 1e5), new=st.integers(0, 10_000), old=st.integers(0, 10_000))
def test_a_quota_keeps_the_budget_and_takes_new_ones_first(budget: float, new: int, old: int) -> None:
    chosen = quota(budget, new, old, 5)
    seen = chosen.epochs * (chosen.new * new + chosen.old * old)
    assert seen <= budget * (1 + 1e-9)
    assert chosen.old == 0 or chosen.new == 1
    if new + old > 0:
        assert seen >= min(budget, chosen.epochs * (new + old)) * (1 - 1e-9)


def test_budgets_beyond_everything_become_passes() -> None:
    assert quota(250, 60, 40, 9).epochs == 3
    assert quota(250, 60, 40, 2).epochs == 2
    assert quota(100, 60, 40, 9) == Quota(1, 1.0, 1.0)
    assert quota(80, 60, 40, 9) == Quota(1, 1.0, 0.5)
    assert quota(30, 60, 40, 9) == Quota(1, 0.5, 0.0)


def records(files: list[str]) -> list[bytes]:
    return list(tf.data.TFRecordDataset(files).as_numpy_iterator())


def ends(content: list[bytes]) -> dict[bytes, int]:
    """By record: the time of the sequence's last event."""
    found = {}
    for record in content:
        example = tf.train.Example.FromString(record)
        found[record] = max(example.features.feature["time"].int64_list.value)
    return found


def files_of(extract: Manifest) -> list[str]:
    return sequence_files(Path(extract.uri("sequences")))


def test_users_with_new_events_are_all_in_and_others_by_lot(night: Night) -> None:
    files = files_of(night.extract)
    since = list_time(night.extract.ds) - 2 * 86_400
    everyone = ends(records(files))
    fresh = {record for record, end in everyone.items() if end >= since}
    assert 0 < len(fresh) < len(everyone)
    with warm_course(files, CONFIG, since=since, seed=1) as course:
        chosen = records(course.files)
        widths = widths_of(course.files, course.settings)
    assert fresh < set(chosen) < set(everyone)
    # A quarter of what four passes over all windows see.
    budget = 0.25 * 4 * len(widths_of(files, CONFIG))
    assert 0.8 * budget < course.settings.epochs * len(widths) < 1.2 * budget
    assert course.settings.learning_rate == 0.5 * CONFIG.learning_rate
    assert not any(Path(name).exists() for name in course.files)


def test_the_lot_falls_alike_again_and_otherwise_on_another_night(night: Night) -> None:
    files = files_of(night.extract)
    since = list_time(night.extract.ds) - 86_400

    def chosen(seed: int, day: int) -> list[bytes]:
        tight = CONFIG.model_copy(update={"warm_share": 0.15})
        with warm_course(files, tight, since=since + day, seed=seed) as course:
            return records(course.files)

    assert chosen(1, 0) == chosen(1, 0)
    assert chosen(1, 0) != chosen(2, 0)
    assert chosen(1, 0) != chosen(1, 1)


def test_windows_are_counted_as_they_are_cut(night: Night) -> None:
    # With all of it as the budget and one window a user, the passes are windows by users.
    files = files_of(night.extract)
    every = CONFIG.model_copy(update={"warm_share": 1.0, "epochs": 1, "warm_windows": 10})
    with warm_course(files, every, since=0, seed=1) as course:
        assert course.settings.epochs == 1
        assert records(course.files) == records(files)
        assert widths_of(course.files, course.settings) == widths_of(files, every)
