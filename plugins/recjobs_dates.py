"""Which data date a DAG run is for: the one place that knows every way a run can start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from recjobs.errors import SettingsError


def data_date(context: Mapping[str, Any]) -> date:
    """The UTC day a run is for, from its task context.

    The param `ds` wins. A run started by assets takes the newest `ds` that their events carry.
    Otherwise it is the last UTC day that was complete at the end of the run's data interval, or,
    for a run without one (triggered without a logical date), when the run became due:

    | run | data date |
    |---|---|
    | scheduled or backfill, interval [D 00:00, D+1 00:00) | D |
    | the same with a later cron, [D 02:00, D+1 02:00) | D |
    | manual with a logical date: Airflow gives it the interval that ended last before it | that day |
    | manual without a logical date | the day before its `run_after` |

    Raises:
        SettingsError: the param `ds`, or that of an asset event, is no date.
    """
    if given := context["params"].get("ds"):
        return _date(given)
    run = context["dag_run"]
    announced = [event.extra["ds"] for event in run.consumed_asset_events or () if "ds" in event.extra]
    if announced:
        return max(map(_date, announced))
    return last_complete_day(run.data_interval_end or run.run_after)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"ds = {text!r} is no date ({error}). Write it as YYYY-MM-DD.", ds=text) from error


def last_complete_day(moment: datetime) -> date:
    """The last UTC day that has ended at `moment`; midnight ends the day before it."""
    return moment.astimezone(UTC).date() - timedelta(days=1)
