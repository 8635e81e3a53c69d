"""Names in settings that stand for something else: a column, an event type, a task. Looked at before anything runs.

The stages check them against what they read; that is hours later. Here they are held against what settings
themselves declare, which is all that a stage will find.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from recjobs import columns as c
from recjobs.errors import SettingsError
from recjobs.settings import Settings
from recjobs.sources.config import ItemsSource, SnapshotSource, UsersSource
from recjobs.sources.contract import USER_COLUMNS

TOWER_ITEM_COLUMNS = (
    c.TITLE,
    c.DESCRIPTION,
    c.CATEGORY,
    c.BRAND,
    c.SELLER,
    c.LANGUAGE,
    c.PRICE,
    c.CREATED_AT,
)
"""What the item tower reads where it is there, besides the declared columns."""
TOWER_USER_COLUMNS = (c.COUNTRY, c.REGION, c.LANGUAGE, c.AGE_BAND, c.INTERESTS)
"""The same of the user tower."""


@dataclass(frozen=True)
class _Named:
    """Names that stand at `key`, of the `kind` of which `known` are there, and how to add one."""

    key: str
    names: Iterable[str]
    kind: str
    known: Sequence[str]
    fix: str


def check_names(settings: Settings) -> None:
    """Holds every name in settings against what they declare.

    Raises:
        SettingsError: some stand for nothing. The message has a line for each: the key, the name, those that are
            known, and how to declare it.
    """
    faults = [_fault(named, name) for named in _names(settings) for name in named.names if name not in named.known]
    if faults:
        raise SettingsError("\n".join(faults))


def segment_columns(users: UsersSource | None, count_columns: Iterable[str] = ()) -> tuple[str, ...]:
    """The columns of user states that have one value a user, which segments can be made by."""
    counted = (c.N_EVENTS, c.ACTIVE_DAYS, c.FIRST_EVENT, c.LAST_EVENT, c.USUAL_PRICE, c.USUAL_DEVICE)
    declared = () if users is None else (*users.categorical, *users.numeric, *users.text)
    return tuple(dict.fromkeys((*USER_COLUMNS, *declared, c.USER, c.USER_INDEX, *counted, *count_columns)))


def tower_item_columns(items: ItemsSource | None) -> tuple[str, ...]:
    """The columns of items that the towers read unless told otherwise."""
    return (*TOWER_ITEM_COLUMNS, *_declared(items, TOWER_ITEM_COLUMNS))


def tower_user_columns(users: UsersSource | None) -> tuple[str, ...]:
    """The columns of users that the towers read unless told otherwise."""
    # One of ours that a config declares again stays what it is (`signup_at`): only texts are read all the same.
    ours = set(USER_COLUMNS) - set(users.text if users else ())
    return (*TOWER_USER_COLUMNS, *(name for name in _declared(users, TOWER_USER_COLUMNS) if name not in ours))


def _declared(source: ItemsSource | UsersSource | None, but: Sequence[str]) -> list[str]:
    if source is None:
        return []
    further = dict.fromkeys((*source.categorical, *source.numeric, *source.text, *source.vectors))
    return [name for name in further if name not in but]


def _names(settings: Settings) -> Iterator[_Named]:
    items, users = settings.items, settings.users
    train, segment = settings.retrieve.train, settings.retrieve.search.sources.segment
    counts = [c.count_column(kind, days) for kind in settings.events.types for days in settings.extract.count_windows]
    by = segment_columns(users, counts)
    yield _Named("compose.segment_by", settings.compose.segment_by, "column of users", by, _declare(users, "users"))
    if segment.quota:
        key = "retrieve.search.sources.segment.by"
        yield _Named(key, segment.by, "column of users", by, _declare(users, "users"))
    yield _Named(
        "retrieve.train.ignored_item_columns",
        train.ignored_item_columns,
        "column of items that the towers read",
        tower_item_columns(items),
        _LEAVE_OUT,
    )
    yield _Named(
        "retrieve.train.ignored_user_columns",
        train.ignored_user_columns,
        "column of users that the towers read",
        tower_user_columns(users),
        _LEAVE_OUT,
    )
    yield from _event_names(settings)


def _event_names(settings: Settings) -> Iterator[_Named]:
    types, declare = tuple(settings.events.types), "declare it under [events.types]"
    for surface, rules in settings.compose.surfaces.items():
        yield _Named(f"compose.surfaces.{surface}.no_repeat", rules.no_repeat, "event type", types, declare)
    yield _Named("evaluate.outcome_types", settings.evaluate.outcome_types or (), "event type", types, declare)
    tasks = settings.tasks()
    yield _Named("rank.train.utility", settings.rank.train.utility, "task of an event type", tasks, "give it to one")


_LEAVE_OUT = "leave it out: what is not declared is not read"


def _declare(source: SnapshotSource | None, section: str) -> str:
    return f"declare it in {section}.categorical" if source else f"give [{section}] a path and declare it there"


def _fault(named: _Named, name: str) -> str:
    close = difflib.get_close_matches(name, named.known, n=1, cutoff=0.5)
    meant = f" Did you mean {close[0]!r}?" if close else ""
    known = ", ".join(named.known)
    return f"{named.key} names {name!r}, which is no {named.kind}.{meant} Known: {known}. Correct it, or {named.fix}."
