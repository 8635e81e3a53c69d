"""The demo's input: the generated marketplace, and the app that is played in it day by day."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

from recjobs.errors import MissingInputError, SettingsError
from recjobs.settings import Settings, load_settings, resolve
from recjobs.sources.pinning import event_days

if TYPE_CHECKING:
    from recjobs.sources.marketplace.config import MarketplaceConfig

logger = logging.getLogger(__name__)


def reach(until: date, config: str) -> list[date]:
    """Makes the marketplace reach to `until`: generated where there is none, else played on. Returns the new days."""
    settings = load_settings(config)
    try:
        event_days(settings)
    except MissingInputError:
        return _generate(settings, until)
    return play_until(until, config)


def play_until(ds: date, config: str) -> list[date]:
    """Plays the app on each day after the newest one with events, up to `ds`; returns those days.

    Users see the lists that are live; before any are, they find their way alone. Days that have
    events are left as they are.

    Raises:
        SettingsError: `config` is not a generated marketplace's.
        MissingInputError: the marketplace was never generated.
        DatabaseUnavailableError: the lists can't be read now.
    """
    from recjobs.sources.traffic import play_day

    settings = load_settings(config)
    marketplace_of(settings)
    newest = event_days(settings)[-1]
    days = [newest + timedelta(days=number) for number in range(1, (ds - newest).days + 1)]
    if not days:
        logger.info("the events of %s are there already; newest is %s", ds, newest)
    for day in days:
        play_day(settings, day, _live_lists(settings))
    return days


def marketplace_of(settings: Settings) -> MarketplaceConfig:
    """The marketplace's own settings.

    Raises:
        SettingsError: there are none, so there is nothing to play.
    """
    if settings.marketplace is None:
        raise SettingsError(
            f"dataset {settings.dataset!r} has no [marketplace] section: its events come from a real app. "
            "Use the config of a generated marketplace.",
            dataset=settings.dataset,
        )
    return settings.marketplace


def _generate(settings: Settings, until: date) -> list[date]:
    from recjobs.sources.marketplace.generation import generate

    report = generate(marketplace_of(settings), resolve(settings.events.path).rsplit("/", 1)[0], until)
    logger.info("generated %d events on %d days, %s to %s", report.events, report.days_written, report.first, until)
    return event_days(settings)


def _live_lists(settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """Every user's list that is live; none before the first was published."""
    from recjobs.publish.connection import connected
    from recjobs.publish.migrations import migrate
    from recjobs.publish.reading import iter_live_lists

    with connected(settings.database, purpose="recjobs traffic") as connection:
        migrate(connection, settings.database)
    yield from iter_live_lists(settings)
