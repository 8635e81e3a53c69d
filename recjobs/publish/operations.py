"""What an operator does to the live lists by hand: promote, roll back, prune. Each leaves a line in the audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from recjobs.publish import promotion, retention
from recjobs.publish.connection import Connection, connected
from recjobs.publish.generations import Generation, refuse_other_dataset
from recjobs.publish.promotion import Reason, Switch
from recjobs.settings import Settings


def promote(settings: Settings, ds: date, seq: int | None = None, force: bool = False, *, who: str, why: str) -> Switch:
    """Makes generation (ds, seq) live, without seq the highest of `ds`; `force` passes the fence and is audited.

    Raises:
        PublishError: there is no such generation, its lists are gone, or the fence refuses it.
        DatabaseUnavailableError: the database does not answer.
    """
    with _connected(settings, "promote") as connection:
        return promotion.promote(connection, settings.database.schema_name, ds, seq, force, Reason(who, why))


def rollback(settings: Settings, to: date | None = None, seq: int | None = None, *, who: str, why: str) -> Switch:
    """Makes the live generation's predecessor live again, or the older generation (to, seq).

    What is chosen stays live until a higher date than any that was live is published.

    Raises:
        PublishError: nothing is live, or there is no such older generation with its lists.
        DatabaseUnavailableError: the database does not answer.
    """
    with _connected(settings, "rollback") as connection:
        return promotion.rollback(connection, settings.database.schema_name, to, seq, Reason(who, why))


def prune(settings: Settings, keep: int | None = None, *, who: str) -> list[Generation]:
    """Drops the lists of all but the newest `keep` generations; returns those whose lists went.

    Live and its predecessor always stay.
    """
    with _connected(settings, "prune") as connection:
        return retention.prune(
            connection,
            settings.database.schema_name,
            settings.publish.keep_generations if keep is None else keep,
            settings.publish.lock_timeout_ms,
            who=who,
        )


@contextmanager
def _connected(settings: Settings, what: str) -> Iterator[Connection]:
    """A connection to a schema that holds this data set's lists, or none yet."""
    with connected(settings.database, purpose=f"recjobs {what}") as connection:
        with connection, connection.cursor() as cursor:
            refuse_other_dataset(cursor, settings.database.schema_name, settings.dataset)
        yield connection
