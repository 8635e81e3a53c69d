"""Where the input is and what its columns and event types mean (DESIGN §4)."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from recjobs.typed import Section

Format = Literal["parquet", "csv"]


class EventType(Section):
    """What one event type means."""

    task: str
    """The ranker's task it is the outcome of: click, cart, purchase."""
    weight: float = 1.0
    """How much it says about taste; negative for a dislike."""
    has_item: bool = True
    """False for a search: no item, a `query` text."""


class EventsSource(Section):
    """Events, a partition per arrival day."""

    path: str
    """A folder or `gs://` prefix with `date=YYYY-MM-DD/…` folders or `YYYY-MM-DD.csv` files."""
    format: Format = "parquet"
    """How the files are written."""
    types: dict[str, EventType]
    """Every event type by its name in the data; a row of another type goes to quarantine."""
    columns: dict[str, str] = {}
    """Our column name = the source's, where they differ."""
    identity: list[str] = []
    """Columns whose equal values make two events one, where there is no `event_id`."""
    closed_dates: list[date] = []
    """Days without events that are no fault."""
    closed_weekdays: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = []
    """Weekdays without events that are no fault (events on such a day are still read)."""


class SnapshotSource(Section):
    """Snapshots of items or users, dated or not."""

    path: str
    """A folder or `gs://` prefix with `date=YYYY-MM-DD/…` or `YYYY-MM-DD.csv`; else undated files."""
    format: Format = "parquet"
    """How the files are written."""
    columns: dict[str, str] = {}
    """Our column name = the source's, where they differ."""
    categorical: list[str] = []
    """Further columns that hold one of a set of values."""
    numeric: list[str] = []
    """Further columns that hold a number."""
    static: list[str] = []
    """Columns that never change, the only ones an undated snapshot contributes."""


class ItemsSource(SnapshotSource):
    """Snapshots of items."""

    text: list[str] = []
    """Further columns that hold text."""
    vectors: list[str] = []
    """Columns that hold a ready-made vector (list of float32, of one width)."""


class UsersSource(SnapshotSource):
    """Snapshots of users."""

    text: list[str] = []
    """Further columns that hold text, in words as items' texts are."""
    vectors: list[str] = []
    """Columns that hold a ready-made vector (list of float32, of one width)."""


class TimeConfig(Section):
    """Cutoffs and windows in days (DESIGN §3)."""

    label_days: int = Field(7, ge=1, le=60)
    """How many days of outcomes the ranker learns from and lists are judged on."""
    window_days: int = Field(365, ge=2)
    """How many days of events are read, the data date included."""
    late_days: int = Field(2, ge=0)
    """How many days after its own an event may arrive."""
    train_lag_days: int = Field(0, ge=0)
    """Days before the data date after which models may learn nothing."""
    history_lag_days: int = Field(0, ge=0)
    """Days before the data date after which a user's state may hold nothing."""
