"""What every pass of extract knows: dates, settings, and where things are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from recjobs import storage
from recjobs.manifest import Cutoffs
from recjobs.settings import Settings
from recjobs.tombstones import Forgotten, forgotten

SCRATCH = "_scratch"


@dataclass(frozen=True)
class Past:
    """The extract that this one goes on from: made by the same code and settings, from files that have not changed."""

    folder: str
    ds: date
    cutoffs: Cutoffs
    first_day: date
    events: int
    """How many it has."""
    counts_hold: bool
    """Whether its counts are of the very users that its events are of: nobody has been forgotten since."""

    def uri(self, *parts: str) -> str:
        """The URI of one of its files."""
        return storage.join(self.folder, *parts)


@dataclass(frozen=True)
class Job:
    """One attempt at extract. Small and picklable: it travels to every worker."""

    ds: date
    cutoffs: Cutoffs
    folder: str
    settings: Settings
    left_out: tuple[str, ...] = ()
    """Digests of the users who are forgotten."""
    first_day: date = date.min
    """The first day that has a file of events."""
    past: Past | None = None
    """What it goes on from; none where it is made from the whole window."""

    @property
    def forgotten(self) -> Forgotten:
        """The users whose rows are dropped before anything else sees them."""
        return forgotten(self.settings.dataset, self.left_out)

    @property
    def shards(self) -> int:
        """How many shards users are split into."""
        return self.settings.beam.shards

    @property
    def window_start(self) -> date:
        """The first day whose events are kept."""
        return self.window_start_of(self.ds)

    def window_start_of(self, ds: date) -> date:
        """The first day whose events are kept by the run for `ds`."""
        return ds - timedelta(days=self.settings.time.window_days - 1)

    @property
    def read_after(self) -> date:
        """The last day whose files of events are not read: what arrived until then is in the past."""
        return date.min if self.past is None else self.past.ds

    @property
    def counted_past(self) -> Past | None:
        """The past, where its counts may be added to."""
        return self.past if self.past is not None and self.past.counts_hold else None

    @property
    def last_cutoff(self) -> date:
        """The last day that anything but the canonical events may hold."""
        return max(self.cutoffs.train_until, self.cutoffs.history_until)

    @property
    def count_windows(self) -> tuple[int, ...]:
        """The windows of counts in days, ascending."""
        return tuple(sorted(set(self.settings.extract.count_windows)))

    def uri(self, *parts: str) -> str:
        """The URI of a file of the artefact."""
        return storage.join(self.folder, *parts)

    def scratch(self, *parts: str) -> str:
        """The URI of a file that is gone when the stage ends."""
        return storage.join(self.folder, SCRATCH, *parts)


def end_of(day: date) -> datetime:
    """The first moment after `day`, in UTC: what is before it is of that day or earlier."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def start_of(day: date) -> datetime:
    """The first moment of `day`, in UTC."""
    return datetime.combine(day, time(), UTC)
