"""Pins the input files of a run: which ones it reads, with their digests.

What a run reads depends on its data date alone, never on what arrived later, so that a run for
an old date pins the same files tonight and next year.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial

from recjobs import storage, tombstones
from recjobs.errors import MissingDateError, MissingInputError, NotArrivedError
from recjobs.manifest import SourceFile, Sources
from recjobs.settings import Settings, resolve
from recjobs.sources.config import EventsSource, SnapshotSource
from recjobs.sources.partitions import Partitions, list_partitions
from recjobs.storage import StoredFile

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DIGEST_THREADS = 8


def pin_sources(settings: Settings, ds: date, known: Iterable[SourceFile] = ()) -> Sources:
    """The files that the run for `ds` reads, and whom it leaves out: everybody with a tombstone by now.

    `known` are files pinned a moment ago, whose content need not be looked at again.

    Events: the partitions of the arrival days `ds - window_days - late_days + 1 … ds`. Items and
    users: the newest snapshot of or before `ds`, else the undated files. Titles: of items also the newest
    snapshots of or before 1, 2, 4, 8 … days ago, as far as the window goes, so that an item that has gone
    keeps its title for as long as it was there.

    Raises:
        NotArrivedError: a day after the newest partition has none, and is not declared closed.
        MissingDateError: a day between partitions has none and is not declared closed; or `ds` is
            before all events, or before all snapshots.
        MissingInputError: a source's folder is missing or has no file of its format.
    """
    events = _pin_events(settings, ds)
    items = _pin_snapshot("items", settings.items, ds)
    users = _pin_snapshot("users", settings.users, ds)
    titles = _pin_titles(settings, ds, items)
    folder = tombstones.folder_of(settings.artefacts)
    digested = partial(_digested, {(file.uri, file.size): file.digest for file in known})
    with ThreadPoolExecutor(_DIGEST_THREADS) as pool:
        return Sources(
            events=tuple(pool.map(digested, events)),
            items=tuple(pool.map(digested, items)),
            users=tuple(pool.map(digested, users)),
            titles=tuple(pool.map(digested, titles)),
            forgotten=tombstones.digests(folder),
            lifted=tombstones.lifted(folder),
        )


def event_days(settings: Settings) -> list[date]:
    """The arrival days that have events, ascending.

    Raises:
        MissingInputError: the folder is missing or has no file of its format.
    """
    return _event_partitions(settings.events).days()


def closed(source: EventsSource, day: date) -> bool:
    """Whether settings declare `day` a day without events."""
    return day in source.closed_dates or _WEEKDAYS[day.weekday()] in source.closed_weekdays


_Dated = tuple[StoredFile, date | None]


def _digested(known: Mapping[tuple[str, int], str], file: _Dated) -> SourceFile:
    stored, day = file
    digest = known.get((stored.uri, stored.size)) or storage.digest(stored.uri)
    return SourceFile(uri=stored.uri, digest=digest, size=stored.size, day=day)


def _event_partitions(source: EventsSource) -> Partitions:
    partitions = list_partitions(resolve(source.path), source.format)
    if not partitions.dated:
        raise MissingInputError(
            f"{partitions.path}: no event file has a date, the first one is {partitions.undated[0].name!r}. "
            f"Name them date=YYYY-MM-DD/….{source.format} or YYYY-MM-DD.{source.format}, by arrival day.",
            path=partitions.path,
        )
    return partitions


def _pin_events(settings: Settings, ds: date) -> list[_Dated]:
    partitions = _event_partitions(settings.events)
    days = partitions.days()
    if ds < days[0]:
        raise MissingDateError(
            f"{partitions.path} has no events of {ds} or before; the oldest are of {days[0]}. "
            f"Run a date from {days[0]} on, or deliver the older events.",
            ds=str(ds),
            path=partitions.path,
        )
    window = settings.time.window_days + settings.time.late_days
    first = max(days[0], ds - timedelta(days=window - 1))
    _require_complete(settings.events, partitions, first, ds)
    return [(file, day) for day in days if first <= day <= ds for file in partitions.dated[day]]


def _require_complete(source: EventsSource, partitions: Partitions, first: date, ds: date) -> None:
    newest = partitions.days()[-1]
    missing = [day for day in _span(first, ds) if day not in partitions.dated and not closed(source, day)]
    if not missing:
        return
    fix = "or declare the day in [events] closed_dates (or its weekday in closed_weekdays) if there are none"
    if missing[0] > newest:
        raise NotArrivedError(
            f"events of {_days(missing)} have not arrived at {partitions.path}; newest is {newest}. "
            f"Wait for the delivery, {fix}.",
            missing=[str(day) for day in missing],
            newest=str(newest),
            path=partitions.path,
        )
    missing = [day for day in missing if day < newest]
    raise MissingDateError(
        f"events of {_days(missing)} are missing at {partitions.path}, between days that have some. "
        f"Deliver them, {fix}.",
        missing=[str(day) for day in missing],
        path=partitions.path,
    )


def _span(first: date, last: date) -> list[date]:
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _days(days: Sequence[date]) -> str:
    more = f" and {len(days) - 3} more days" if len(days) > 3 else ""
    return ", ".join(str(day) for day in days[:3]) + more


def _pin_snapshot(section: str, source: SnapshotSource | None, ds: date) -> list[_Dated]:
    if source is None:
        return []
    partitions = list_partitions(resolve(source.path), source.format)
    past = [day for day in partitions.days() if day <= ds]
    if past:
        return [(file, past[-1]) for file in partitions.dated[past[-1]]]
    if partitions.undated:
        return [(file, None) for file in partitions.undated]
    raise MissingDateError(
        f"{partitions.path} has no {section} snapshot of {ds} or before; the oldest is of {partitions.days()[0]}. "
        f"Deliver an older one, or undated files of which settings declare [{section}] static columns.",
        ds=str(ds),
        path=partitions.path,
    )


def _pin_titles(settings: Settings, ds: date, newest: Sequence[_Dated]) -> list[_Dated]:
    """Older snapshots of items, the newest first; none where `newest`, the one that counts, is undated."""
    counts = newest[0][1] if newest else None
    if settings.items is None or counts is None:
        return []
    partitions = list_partitions(resolve(settings.items.path), settings.items.format)
    ages = [1 << doubling for doubling in range((settings.time.window_days - 1).bit_length())]
    past = [[day for day in partitions.days() if day <= ds - timedelta(days=age) and day < counts] for age in ages]
    chosen = sorted({days[-1] for days in past if days}, reverse=True)
    return [(file, day) for day in chosen for file in partitions.dated[day]]
