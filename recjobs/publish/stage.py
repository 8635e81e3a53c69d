"""`publish`: the finished lists into Postgres, live in one step or not at all.

The runner calls this stage also when its manifest is there: what counts is what the database
holds, and that may have been wiped or be another one. The same run again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Collection, Mapping

import psycopg2

from recjobs import storage
from recjobs.errors import GateRefusedError, MissingInputError, PublishError, RecjobsError
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.publish import checks, earlier, forgetting, generations, loading, promotion, retention
from recjobs.publish.connection import Connection, connected
from recjobs.publish.generations import Generation, Publication
from recjobs.publish.loading import Part
from recjobs.publish.migrations import migrate
from recjobs.publish.tables import ITEMS, SEGMENTS, USERS
from recjobs.settings import Settings

PUBLICATION = "publication.json"
log = logging.getLogger(__name__)


def run(inputs: Inputs, config: Settings, out: Output) -> Manifest:
    """Publishes `compose`'s lists as the generation of its run, and makes it live where the fence lets it.

    Idempotent by itself: a run that has its generation keeps it, whatever its state.

    Raises:
        GateRefusedError: `evaluate` refused the lists; the generation is recorded as rejected.
        PublishError: the lists can't be loaded, or the schema holds another dataset.
        PublishBusyError: another process is loading this run now.
        DatabaseUnavailableError: the database does not answer. Live lists are untouched.
    """
    started = time.perf_counter()
    parts = parts_of(inputs["compose"], list(config.compose.surfaces))
    _refuse_missing_users(inputs["compose"], parts)
    publication = _publication(inputs, config, parts)
    _refuse_ungated(inputs, config, publication)
    with connected(config.database, purpose=f"recjobs publish {inputs.ds}") as connection:
        migrate(connection, config.database)
        if inputs.tombstones is not None:
            forgetting.synchronise(connection, config.database, inputs.tombstones, config.dataset)
        found = generations.register(connection, config.database, publication)
        ready = _loaded(connection, config, found, parts, inputs["compose"].forgotten)
        earlier.wait_for_plans(connection, config.database.schema_name)
        loaded = time.perf_counter()
        switch = promotion.publish(
            connection, config.database.schema_name, ready.generation, promotion.Reason("publish", f"run {out.run}")
        )
        log.info(switch.message)
        promoted = time.perf_counter()
        retention.prune(
            connection,
            config.database.schema_name,
            config.publish.keep_generations,
            config.publish.lock_timeout_ms,
        )
        forgotten = forgetting.forgotten_rows(connection, config.database.schema_name, ready)
    timings = {"load": loaded - started, "promote": promoted - loaded, "prune": time.perf_counter() - promoted}
    return _manifest(out, switch, parts, timings, forgotten)


def parts_of(compose: Manifest, surfaces: list[str]) -> list[Part]:
    """The files of every list table, users first and shard by shard.

    Raises:
        MissingInputError: a surface has no lists.
    """
    parts: list[Part] = []
    for surface in surfaces:
        users = [Part(USERS, file.uri, surface) for file in compose.parts("lists", surface)]
        if not users:
            raise MissingInputError(
                f"{compose.uri('lists', surface)}: no lists for surface {surface!r}. Run compose again.",
                surface=surface,
            )
        parts += users + [Part(SEGMENTS, file.uri, surface) for file in compose.parts("segments", surface)]
    return parts + [Part(ITEMS, file.uri) for file in compose.parts("items")]


def _refuse_missing_users(compose: Manifest, parts: list[Part]) -> None:
    """A part that is missing would leave users without a list; the manifest says how many there must be."""
    expected = compose.rows.get("users")
    for surface in dict.fromkeys(part.surface for part in parts if part.table is USERS):
        found = loading.rows_of([part for part in parts if part.table is USERS and part.surface == surface])
        if expected is not None and found[USERS.name] != expected:
            raise PublishError(
                f"{compose.uri('lists', str(surface))}: lists of {found[USERS.name]} users, and compose's manifest "
                f"says {expected}. Delete that run of compose and run it again.",
                surface=surface,
            )


def _publication(inputs: Inputs, config: Settings, parts: list[Part]) -> Publication:
    compose, evaluate = inputs["compose"], inputs["evaluate"]
    return Publication(
        dataset=config.dataset,
        ds=inputs.ds,
        run=compose.run,
        checksum=_checksum(parts),
        versions={
            "code": compose.code_version,
            "compose": compose.folder,
            "evaluate": evaluate.folder,
            "inputs": {name: reference.uri for name, reference in compose.inputs.items()},
        },
        metrics=evaluate.metrics,
        gate=[check.model_dump() for check in evaluate.checks],
    )


def _checksum(parts: list[Part]) -> str:
    """One digest over the content of all parts, in order."""
    accumulator = hashlib.blake2b(digest_size=16)
    for part in parts:
        accumulator.update(f"{part.table.name} {part.surface} {storage.digest(part.uri)}\n".encode())
    return accumulator.hexdigest()


def _refuse_ungated(inputs: Inputs, config: Settings, publication: Publication) -> None:
    try:
        inputs["evaluate"].raise_if_refused()
    except GateRefusedError:
        try:
            with connected(config.database) as connection:
                migrate(connection, config.database)
                generations.reject(connection, config.database, publication)
        except RecjobsError as error:
            log.warning("the refusal could not be recorded: %s", error)
        raise


def _loaded(
    connection: Connection, config: Settings, found: Generation, parts: list[Part], left_out: Collection[str]
) -> Generation:
    """The generation with its lists loaded, if it did not have them; removed again when that fails.

    `left_out` are the tombstones that the lists were made without.
    """
    if found.state != "loading":
        log.info("generation %s of run %s is %s already", found, found.run, found.state)
        return found
    try:
        return loading.load(connection, config.database, config.publish, found, parts, left_out)
    except (RecjobsError, psycopg2.Error):
        _discard(connection, config.database.schema_name, found)
        raise


def _discard(connection: Connection, schema: str, generation: Generation) -> None:
    """Removes what a failed load left, at once: it may be what fills the disk."""
    if connection.closed:
        return
    try:
        loading.discard(connection, schema, generation)
    except psycopg2.Error as error:
        if connection.closed:
            raise  # who has lost its generation is to try again, whatever else went wrong
        log.warning("generation %s: its tables are left to the next run (%s)", generation, str(error).strip())


def _manifest(
    out: Output, switch: promotion.Switch, parts: list[Part], timings: Mapping[str, float], forgotten: int
) -> Manifest:
    generation = switch.generation
    record = {
        "ds": str(generation.ds),
        "seq": generation.seq,
        "state": generation.state,
        "rows": generation.counts,
        "message": switch.message,
    }
    storage.write_bytes(out.uri(PUBLICATION), json.dumps(record, indent=2).encode())
    users = generation.counts.get(USERS.name, 0)
    return out.manifest(
        rows=generation.counts,
        metrics={
            "seq": float(generation.seq),
            "live": float(generation.state == "live"),
            "users_per_second": users / (timings["load"] + timings["promote"]),
        },
        checks=[checks.all_rows_stored(loading.rows_of(parts), generation.counts, forgotten)],
        timings=timings,
        notes=[switch.message],
    )
