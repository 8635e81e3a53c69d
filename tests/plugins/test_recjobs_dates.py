"""The data date of every way in which a run can start."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from hypothesis import given
from hypothesis import strategies as st
from recjobs_dates import data_date, last_complete_day

from recjobs.airflow.nights import logical_date
from recjobs.errors import SettingsError
from tests.airflow_environment import CHECKOUT

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def dag() -> SerializedDAG:
    bag = DagBag(str(CHECKOUT / "dags"))
    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags["nightly_recommendations"]))


def context(
    interval: DataInterval | None = None,
    run_after: datetime = NOW,
    ds: str | None = None,
    announced: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    run = SimpleNamespace(
        data_interval_end=interval.end if interval else None,
        run_after=run_after,
        consumed_asset_events=[SimpleNamespace(extra=extra) for extra in announced],
    )
    return {"params": {"ds": ds}, "dag_run": run}


def test_a_scheduled_run_is_for_the_day_its_interval_covers(dag: SerializedDAG) -> None:
    info = dag.timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(
            NOW.replace(hour=0, minute=0) - timedelta(days=1), NOW.replace(hour=0, minute=0)
        ),
        restriction=TimeRestriction(earliest=None, latest=None, catchup=True),
    )
    assert info is not None
    assert info.logical_date.date() == date(2026, 11, 22)
    assert data_date(context(info.data_interval, info.run_after)) == date(2026, 11, 22)


def test_each_run_of_a_backfill_is_for_its_own_day(dag: SerializedDAG) -> None:
    infos = dag.iter_dagrun_infos_between(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    dates = [data_date(context(info.data_interval, run_after=NOW)) for info in infos]
    assert dates == [date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)]


def test_a_manual_run_with_a_logical_date_is_for_the_day_that_ended_last_before_it(dag: SerializedDAG) -> None:
    interval = dag.timetable.infer_manual_data_interval(run_after=NOW)
    assert data_date(context(interval, run_after=NOW)) == date(2026, 11, 21)


def test_a_manual_run_without_a_logical_date_is_for_the_last_complete_day() -> None:
    assert data_date(context(interval=None, run_after=NOW)) == date(2026, 11, 21)


def test_a_run_started_by_assets_is_for_the_newest_date_they_announce() -> None:
    announced = ({"ds": "2026-11-18"}, {"ds": "2026-11-19"}, {})
    assert data_date(context(announced=announced)) == date(2026, 11, 19)


def test_a_run_started_by_assets_without_a_date_is_for_the_last_complete_day() -> None:
    assert data_date(context(announced=({},))) == date(2026, 11, 21)


def test_the_param_wins_over_everything(dag: SerializedDAG) -> None:
    interval = dag.timetable.infer_manual_data_interval(run_after=NOW)
    assert data_date(context(interval, ds="2011-10-17", announced=({"ds": "2026-11-18"},))) == date(2011, 10, 17)


def test_a_param_that_is_no_date_is_named() -> None:
    with pytest.raises(SettingsError, match=r"'2026-13-01' is no date .* YYYY-MM-DD"):
        data_date(context(ds="2026-13-01"))


def test_a_later_start_keeps_the_day() -> None:
    at_two = CronDataIntervalTimetable("0 2 * * *", timezone="UTC")
    interval = at_two.infer_manual_data_interval(run_after=NOW)
    assert (interval.start.hour, interval.start.date()) == (2, date(2026, 11, 21))
    assert data_date(context(interval)) == date(2026, 11, 21)


@given(st.dates(date(2000, 1, 2), date(2100, 1, 1)))
def test_midnight_ends_the_day_before_it(day: date) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert last_complete_day(midnight) == day - timedelta(days=1)
    assert last_complete_day(midnight - timedelta(microseconds=1)) == day - timedelta(days=2)


def test_days_are_utc_days() -> None:
    in_auckland = datetime(2026, 11, 22, 9, 0, tzinfo=timezone(timedelta(hours=13)))  # 20:00 UTC on the 21st
    assert last_complete_day(in_auckland) == date(2026, 11, 20)


@given(st.dates(date(2001, 1, 1), date(2100, 1, 1)))
def test_the_demo_asks_for_the_interval_of_its_date(day: date) -> None:
    midnight = CronDataIntervalTimetable("0 0 * * *", timezone="UTC")
    interval = midnight.infer_manual_data_interval(run_after=logical_date(day))
    assert data_date(context(interval)) == day
    assert logical_date(day) != interval.end, "that is the logical date of the next scheduled run"
