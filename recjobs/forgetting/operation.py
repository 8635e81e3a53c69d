"""`forget` and its undoing, over storage and database: the tombstone first, then what there is, then the receipt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from recjobs import tombstones
from recjobs.errors import SettingsError
from recjobs.forgetting import receipt as receipts
from recjobs.forgetting.receipt import Receipt, Removed
from recjobs.forgetting.runs import scrub_all, user_columns
from recjobs.publish import forgetting
from recjobs.publish.connection import connected
from recjobs.settings import Settings, resolve
from recjobs.tombstones import Forgotten, Tombstone, digest_of


@dataclass(frozen=True)
class Done:
    """The receipt and where it is stored."""

    receipt: Receipt
    uri: str


def forget(settings: Settings, user: str, *, who: str, why: str) -> Done:
    """Removes `user` from everything that was made and published, and keeps the user out of what will be.

    Safe to call at any time, beside runs too, and again: a call that was killed is finished by the next.

    Raises:
        SettingsError: the id is empty or no text.
        PublishError: the schema holds another data set's lists.
        DatabaseUnavailableError: the database does not answer. The tombstone stands; call again.
        StorageUnavailableError: as above, of the bucket.
    """
    digest = _digest(settings, user)
    folder = tombstones.folder_of(settings.artefacts)
    now = Tombstone(digest=digest, dataset=settings.dataset, forgotten_at=datetime.now(UTC), who=who, why=why)
    tombstones.add(folder, now)
    stone = tombstones.get(folder, digest) or now
    with connected(settings.database, purpose="recjobs forget") as connection:
        rows = forgetting.forget(connection, settings.database, stone, user)
    columns = user_columns(settings.model_dump(include={"events", "users"}))
    outcome = scrub_all(
        settings.artefacts, Forgotten(settings.dataset, frozenset({digest}), frozenset({user})), columns
    )
    receipt = Receipt(
        dataset=settings.dataset,
        digest=digest,
        forgotten_at=stone.forgotten_at,
        finished_at=datetime.now(UTC),
        who=who,
        why=why,
        removed=(
            *(Removed(where="database", what=table, removed=count) for table, count in rows.items()),
            *(Removed(where=one.where, what=one.what, removed=one.removed) for one in outcome.removed),
        ),
        running=outcome.running,
        not_reached=tuple(not_reached(settings)),
    )
    return Done(receipt, receipts.store(receipt, settings.artefacts))


def remember(settings: Settings, user: str, *, who: str, why: str) -> bool:
    """Takes the user's tombstone away, so that the next run brings the user back from the sources; False without one.

    What was removed stays removed. Audited in the database, and kept beside the tombstones.

    Raises:
        SettingsError: the id is empty or no text.
        PublishError: the schema holds another data set's lists.
        DatabaseUnavailableError: the database does not answer; the tombstone stands.
    """
    digest = _digest(settings, user)
    record = Tombstone(digest=digest, dataset=settings.dataset, forgotten_at=datetime.now(UTC), who=who, why=why)
    folder = tombstones.folder_of(settings.artefacts)
    with connected(settings.database, purpose="recjobs forget") as connection:
        return forgetting.remember(connection, settings.database, folder, record)


def _digest(settings: Settings, user: str) -> str:
    if not user.strip():
        raise SettingsError(f"user id {user!r} is empty. Write the id as it stands in the sources.")
    return digest_of(settings.dataset, user)


def not_reached(settings: Settings) -> list[str]:
    """Where a forgotten user may still be, in words for the receipt."""
    sources = {"events": settings.events, "items": None, "users": settings.users}
    paths = [f"{kind} in {resolve(source.path)}" for kind, source in sources.items() if source is not None]
    return [
        f"the sources, which are yours: {'; '.join(paths)}",
        "what models and counts learnt from the user together with everybody else: until they are made again",
        "the database's write-ahead log and free space inside its files, until they are reused",
        "backups, replicas' archives, log files of runs, and copies that were exported or read by others",
    ]
