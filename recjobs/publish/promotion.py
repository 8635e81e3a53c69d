"""Makes a generation live, or takes an older one back: one short transaction, always under the one lock.

The fence: by itself a generation goes live only above the highest (ds, seq) that ever was. While
an older one than that is live, somebody rolled back, and it stays until a higher ds comes: not
even a later seq of the same ds takes over by itself.

Whatever goes live is rid first of users who were forgotten since it was loaded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date
from typing import Literal

from recjobs.errors import PublishError
from recjobs.publish import forgetting
from recjobs.publish.connection import Connection, Cursor
from recjobs.publish.generations import Generation, by_id, fetch, live_generation, query
from recjobs.publish.migrations import lock

Action = Literal["publish", "promote", "rollback"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reason:
    """Who makes a generation live, and why: what the audit keeps."""

    who: str
    why: str


@dataclass(frozen=True)
class Switch:
    """What a promotion or rollback did."""

    generation: Generation
    """The generation that was asked for, as it is now."""
    replaced: Generation | None
    """What was live before; None when nothing was, or nothing changed."""
    changed: bool
    message: str
    """One sentence for people."""


def publish(connection: Connection, schema: str, generation: int, reason: Reason) -> Switch:
    """Makes a `ready` generation live if the fence lets it, else `superseded`. Any other state stays as it is."""
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        candidate = by_id(cursor, schema, generation)
        if candidate.state != "ready":
            return Switch(candidate, None, False, f"{candidate} is {candidate.state} already; nothing changed.")
        # Also where the fence refuses: readers may look back at it.
        removed = forgetting.clear_before_live(cursor, schema, candidate)
        if (refusal := fence(cursor, schema, candidate)) is not None:
            _set_state(cursor, schema, candidate, "superseded")
            switch = Switch(by_id(cursor, schema, generation), None, True, refusal)
        else:
            switch = _switch(cursor, schema, candidate, "publish", reason, forced=False)
    return _vacuumed(connection, schema, switch, removed)


def promote(connection: Connection, schema: str, ds: date, seq: int | None, force: bool, reason: Reason) -> Switch:
    """Makes the generation (ds, seq) live on somebody's word; without seq the highest of ds.

    Raises:
        PublishError: there is no such generation, its lists are not stored, or the fence refuses
            it and `force` is not given.
    """
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        candidate = _stored(cursor, schema, ds, seq)
        if candidate.state == "live":
            return Switch(candidate, None, False, f"{candidate} is live already; nothing changed.")
        refusal = fence(cursor, schema, candidate)
        if refusal is not None and not force:
            raise PublishError(f"{refusal} Give --force to make it live all the same.", ds=str(ds), seq=candidate.seq)
        removed = forgetting.clear_before_live(cursor, schema, candidate)
        switch = _switch(cursor, schema, candidate, "promote", reason, forced=refusal is not None)
    return _vacuumed(connection, schema, switch, removed)


def rollback(connection: Connection, schema: str, ds: date | None, seq: int | None, reason: Reason) -> Switch:
    """Makes the predecessor of the live generation live again, or the given older one.

    The predecessor is the highest (ds, seq) below the live one that was live before.

    Raises:
        PublishError: nothing is live, there is no such generation, it is not older than the live
            one, or its lists are not stored any more.
    """
    with connection, connection.cursor() as cursor:
        lock(cursor, schema)
        now = live_generation(cursor, schema)
        if now is None:
            raise PublishError(f"schema {schema}: nothing is live yet, so there is nothing to roll back.")
        target = predecessor(cursor, schema, now) if ds is None else _stored(cursor, schema, ds, seq)
        if target is None:
            raise PublishError(f"{now} is live and no earlier generation that was live is kept.", live=str(now))
        if target.number >= now.number:
            raise PublishError(f"{target} is not older than {now}, which is live. Use `recjobs promote`.")
        removed = forgetting.clear_before_live(cursor, schema, target)
        switch = _switch(cursor, schema, target, "rollback", reason, forced=False)
    return _vacuumed(connection, schema, switch, removed)


def fence(cursor: Cursor, schema: str, candidate: Generation) -> str | None:
    """Why `candidate` may not go live by itself, or None where it may. The caller holds the lock."""
    cursor.execute(
        query(
            schema,
            "select {columns} from {schema}.generations where first_live_at is not null "
            "order by ds desc, seq desc limit 1",
        )
    )
    highest = next(iter(fetch(cursor)), None)
    if highest is None:
        return None
    if candidate.number <= highest.number:
        if candidate.number == highest.number:
            return f"{candidate} was rolled back, and stays so until a date after {highest.ds}."
        return f"{candidate} stays aside: {highest} is newer and was live."
    now = live_generation(cursor, schema)
    if now is not None and now.number < highest.number and candidate.ds <= highest.ds:
        return f"{candidate} stays aside: {now} was chosen over {highest} and stays until a date after {highest.ds}."
    return None


def predecessor(cursor: Cursor, schema: str, live: Generation) -> Generation | None:
    """The highest generation below `live` that was live and is stored: where rollback goes."""
    cursor.execute(
        query(
            schema,
            "select {columns} from {schema}.generations where first_live_at is not null and pruned_at is null and "
            "(ds, seq) < (%s, %s) order by ds desc, seq desc limit 1",
        ),
        live.number,
    )
    return next(iter(fetch(cursor)), None)


def _stored(cursor: Cursor, schema: str, ds: date, seq: int | None) -> Generation:
    cursor.execute(
        query(
            schema,
            "select {columns} from {schema}.generations where ds = %s and (%s::integer is null or seq = %s) "
            "order by seq desc limit 1",
        ),
        (ds, seq, seq),
    )
    name = f"{ds}" if seq is None else f"{ds} seq {seq}"
    found = next(iter(fetch(cursor)), None)
    if found is None:
        raise PublishError(f"no generation {name} in schema {schema}. `recjobs versions` lists what there is.")
    if not found.stored:
        why = "its lists were pruned" if found.pruned_at else f"it is {found.state} and has no lists"
        raise PublishError(f"generation {found} can't go live: {why}. Run that date again.", generation=str(found))
    return found


def _switch(
    cursor: Cursor, schema: str, generation: Generation, action: Action, reason: Reason, *, forced: bool
) -> Switch:
    before = live_generation(cursor, schema)
    if before is not None:
        _set_state(cursor, schema, before, "superseded")
    cursor.execute(
        query(
            schema,
            "update {schema}.generations set state = 'live', last_live_at = clock_timestamp(), "
            "first_live_at = coalesce(first_live_at, clock_timestamp()) where generation = %s",
        ),
        (generation.generation,),
    )
    cursor.execute(
        query(
            schema,
            "insert into {schema}.live (generation) values (%s) "
            "on conflict (singleton) do update set generation = excluded.generation",
        ),
        (generation.generation,),
    )
    cursor.execute(
        query(
            schema,
            "insert into {schema}.audit (action, generation, replaced, forced, who, why) "
            "values (%s, %s, %s, %s, %s, %s)",
        ),
        (action, generation.generation, before.generation if before else None, forced, reason.who, reason.why),
    )
    message = f"{generation} is live" + (f" in place of {before}." if before else ", the first ever.")
    log.info("%s: %s (%s)", action, message, reason.who)
    return Switch(by_id(cursor, schema, generation.generation), before, True, message)


def _vacuumed(connection: Connection, schema: str, switch: Switch, removed: int) -> Switch:
    if removed:
        forgetting.vacuum(connection, schema, [f"{forgetting.TABLE}_g{switch.generation.generation}"])
    return switch


def _set_state(cursor: Cursor, schema: str, generation: Generation, state: str) -> None:
    cursor.execute(
        query(schema, "update {schema}.generations set state = %s where generation = %s"),
        (state, generation.generation),
    )
