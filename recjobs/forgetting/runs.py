"""Every run of every stage, rid of users: a run gets a new attempt without them, and the old one is deleted.

Manifests are replaced in one step, and only where they still are what was read; so a kill leaves
each run with its old attempt or its new one, two who do this at once do not undo each other, and
doing it again finishes the job. All new attempts are made before the first manifest changes, so
that a stage which starts meanwhile hardly ever sees some inputs with a user and some without (it
is started again where it did).
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import MissingInputError, StorageUnavailableError
from recjobs.flow import STAGES
from recjobs.forgetting import files
from recjobs.forgetting.files import Held, Scrub
from recjobs.manifest import MANIFEST_NAME, RESUME, InputRef, Manifest, digest_of
from recjobs.tombstones import Forgotten

_ROUNDS = 20
_GONE = (MissingInputError, FileNotFoundError)
"""What a file raises that somebody else has moved meanwhile."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removal:
    """What was taken out of one place."""

    where: str
    what: str
    removed: int


@dataclass(frozen=True)
class Run:
    """One run of a stage: its manifest as it stands, if it has one, and its attempts' folders."""

    stage: str
    folder: str
    stored: bytes | None
    attempts: tuple[str, ...]

    @property
    def uri(self) -> str:
        """Where the manifest stands."""
        return _uri(self.folder)

    @property
    def manifest(self) -> Manifest | None:
        """The manifest, or None where the run is not finished."""
        return None if self.stored is None else Manifest.model_validate_json(self.stored)


@dataclass(frozen=True)
class _Rewrite:
    """A run's manifest before and after."""

    run: Run
    before: Manifest
    after: Manifest
    held: tuple[Held, ...]

    @property
    def content(self) -> bytes:
        return self.after.model_dump_json(indent=2).encode()

    @property
    def moved(self) -> bool:
        return self.after.attempt != self.before.attempt


@dataclass(frozen=True)
class Outcome:
    """What was taken out, and the attempts that are being written to now: they drop the users before they finish."""

    removed: tuple[Removal, ...]
    running: tuple[str, ...]


def scrub_all(artefacts: str, forgotten: Forgotten, columns: tuple[str, ...] = (c.USER,)) -> Outcome:
    """Takes `forgotten` out of every run below `artefacts`, and out of what runs that did not finish have left."""
    removed = [one for round_ in _rounds(artefacts, forgotten) for one in round_]
    running: list[str] = []
    for run in find_runs(artefacts):
        for attempt in _unfinished(run):
            if storage.is_held(attempt):
                running.append(_place(artefacts, attempt))
            # Asked in this order: who finishes stores the manifest first and lets go of the attempt then.
            elif attempt in _unfinished(_run(run.stage, run.folder)):
                removed += _clear(artefacts, run.stage, attempt, forgotten, columns)
    return Outcome(tuple(removed), tuple(running))


def scrub_run(artefacts: str, stage: str, folder: str, forgotten: Forgotten) -> list[Removal]:
    """Takes `forgotten` out of one finished run."""
    for _ in range(_ROUNDS):
        try:
            done = _swap(artefacts, _planned(_with_inputs(_run(stage, folder)), forgotten, only=_uri(folder)))
        except _GONE as error:
            log.info("moved meanwhile, looking again: %s", error)
            continue
        if done is not None:
            return done
    raise StorageUnavailableError(f"{folder}: its manifest changes all the time. Try again.", uri=folder)


def _with_inputs(run: Run) -> dict[str, Run]:
    """The run and the manifests that it reads, which are only read here too."""
    known = {run.uri: run}
    for reference in run.manifest.inputs.values() if run.manifest else ():
        with contextlib.suppress(MissingInputError):
            known[reference.uri] = Run("", "", storage.read_bytes(reference.uri), ())
    return known


def find_runs(artefacts: str) -> list[Run]:
    """Every run of every stage, in the order of the stages, then of dates."""
    found = []
    for stage in STAGES:
        for day in _dates(storage.join(artefacts, stage)):
            found += [_run(stage, storage.join(day, name)) for name in storage.list_folders(day)]
    return found


def _dates(folder: str) -> list[str]:
    return [storage.join(folder, name) for name in storage.list_folders(folder) if name.startswith("ds=")]


def _uri(folder: str) -> str:
    return storage.join(folder, MANIFEST_NAME)


def _run(stage: str, folder: str) -> Run:
    uri = _uri(folder)
    stored = storage.read_bytes(uri) if storage.exists(uri) else None
    attempts = tuple(storage.join(folder, name) for name in storage.list_folders(folder))
    return Run(stage, folder, stored, attempts)


def _rounds(artefacts: str, forgotten: Forgotten) -> Iterable[list[Removal]]:
    """Rounds until every manifest could be replaced: another process may have been at one of them."""
    for _ in range(_ROUNDS):
        known = {run.uri: run for run in find_runs(artefacts) if run.stored is not None}
        try:
            done = _swap(artefacts, _planned(known, forgotten))
        except _GONE as error:
            log.info("moved meanwhile, looking again: %s", error)
            continue
        if done is not None:
            yield done
            return
    raise StorageUnavailableError(f"{artefacts}: manifests change all the time. Try again when no run is on.")


# -- what changes


def _planned(known: Mapping[str, Run], forgotten: Forgotten, only: str | None = None) -> list[_Rewrite]:
    """The manifests that change, inputs before those who read them: a manifest names its inputs' digests."""
    planner = _Planner(known, forgotten)
    for uri in [only] if only else known:
        planner.plan(uri)
    return [rewrite for rewrite in planner.planned.values() if rewrite is not None]


class _Planner:
    """Plans each manifest once, after its inputs."""

    def __init__(self, known: Mapping[str, Run], forgotten: Forgotten) -> None:
        self.known = known
        self.forgotten = forgotten
        self.planned: dict[str, _Rewrite | None] = {}

    def plan(self, uri: str) -> None:
        if uri in self.planned:
            return
        run = self.known[uri]
        before = run.manifest
        assert before is not None
        if run.stage:
            for reference in before.inputs.values():
                if reference.uri in self.known:
                    self.plan(reference.uri)
        self.planned[uri] = self._rewrite(run, before) if run.stage else None

    def _rewrite(self, run: Run, before: Manifest) -> _Rewrite | None:
        held = tuple(files.held_in(before.folder, scrub_of(before, self.forgotten, self._index(before))))
        after = _after(before, held, self._references(before), self.forgotten)
        return None if after == before else _Rewrite(run, before, after, held)

    def _index(self, manifest: Manifest) -> dict[str, int]:
        """The rows that a model has of the users: what its extract says, now or when it was rid of them."""
        reference = manifest.inputs.get("extract")
        if manifest.stage != files.TRAIN or reference is None or reference.uri not in self.known:
            return {}
        planned = self.planned.get(reference.uri)
        extract = planned.after if planned else self.known[reference.uri].manifest
        assert extract is not None
        return {digest: row for digest, row in extract.forgotten.items() if digest in self.forgotten.digests}

    def _references(self, manifest: Manifest) -> dict[str, InputRef]:
        return {
            name: InputRef(uri=reference.uri, digest=self._digest(reference))
            for name, reference in manifest.inputs.items()
        }

    def _digest(self, reference: InputRef) -> str:
        planned = self.planned.get(reference.uri)
        if planned is not None:
            return digest_of(planned.content)
        run = self.known.get(reference.uri)
        return reference.digest if run is None or run.stored is None else digest_of(run.stored)


def scrub_of(manifest: Manifest, forgotten: Forgotten, index: Mapping[str, int]) -> Scrub:
    """What must be known to take `forgotten` out of the files of `manifest`."""
    return Scrub(
        manifest.stage,
        forgotten,
        user_columns(manifest.config),
        index,
        frozenset(file.uri for file in manifest.sources.events),
    )


def user_columns(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What the sources of events and users call users."""
    sections = [section for name in ("events", "users") if (section := config.get(name))]
    return tuple(sorted({str(one.get("columns", {}).get(c.USER, c.USER)) for one in sections})) or (c.USER,)


def without(manifest: Manifest, held: Sequence[Held], forgotten: Forgotten) -> Manifest:
    """`manifest` with the counts that its files have without what they held of `forgotten`."""
    gone = files.removed_by(held)
    index = files.index_of(held, forgotten)
    free = {digest: index.get(digest, manifest.forgotten.get(digest, 0)) for digest in forgotten.digests}
    rows = {name: count - gone[name] for name, count in manifest.rows.items()}
    return manifest.model_copy(update={"rows": rows, "forgotten": dict(sorted({**manifest.forgotten, **free}.items()))})


def _after(
    before: Manifest, held: Sequence[Held], references: Mapping[str, InputRef], forgotten: Forgotten
) -> Manifest:
    after = without(before, held, forgotten).model_copy(update={"inputs": dict(references)})
    if not held:
        return after
    attempt = uuid.uuid4().hex[:8]
    folder = storage.join(before.folder.rsplit("/", 1)[0], attempt)
    return after.model_copy(update={"attempt": attempt, "folder": folder})


# -- changing it


def _swap(artefacts: str, rewrites: Sequence[_Rewrite]) -> list[Removal] | None:
    """Makes new attempts, then replaces the manifests, then deletes the old attempts; None when one was not ours."""
    with contextlib.ExitStack() as making:
        for rewrite in rewrites:
            if rewrite.moved:
                making.enter_context(storage.holding(rewrite.after.folder))
                _make(rewrite)
        won = [
            rewrite
            for rewrite in rewrites
            if storage.replace_if(rewrite.run.uri, rewrite.run.stored or b"", rewrite.content)
        ]
        for rewrite in rewrites:
            if rewrite.moved:
                storage.delete_folder((rewrite.before if rewrite in won else rewrite.after).folder)
    if len(won) < len(rewrites):
        return None
    return [
        Removal(_place(artefacts, rewrite.run.folder), one.name, one.removed) for rewrite in won for one in rewrite.held
    ]


def _make(rewrite: _Rewrite) -> None:
    changed = {name for one in rewrite.held for name in one.names}
    for one in rewrite.held:
        one.write(rewrite.after.folder)
    for file in storage.list_files(rewrite.before.folder):
        if file.name not in changed:
            storage.copy_file(file.uri, rewrite.after.uri(file.name))


# -- what unfinished runs have left


def _unfinished(run: Run) -> list[str]:
    finished = run.manifest.folder if run.manifest else None
    return [attempt for attempt in run.attempts if attempt != finished]


def _clear(artefacts: str, stage: str, attempt: str, forgotten: Forgotten, columns: tuple[str, ...]) -> list[Removal]:
    """Deletes what a dead attempt left. In a bucket nobody can tell whether it is dead: there users are taken out.

    What an attempt can go on from is deleted everywhere: without it training begins anew, and nothing else is lost.
    """
    if not storage.is_remote(attempt) or attempt.endswith(f"/{RESUME}"):
        count = storage.delete_folder(attempt)
        return [Removal(_place(artefacts, attempt), "what an attempt that did not finish had left, all of it", count)]
    held = files.held_in(attempt, Scrub(stage, forgotten, columns, complete=False))
    for one in held:
        with contextlib.suppress(MissingInputError):
            one.write(attempt)
    return [Removal(_place(artefacts, attempt), one.name, one.removed) for one in held]


def _place(artefacts: str, uri: str) -> str:
    return uri.removeprefix(artefacts).strip("/")
