"""What a finished stage leaves: its manifest, written last and only once.

No manifest: it did not happen. The manifest of a stage's run stands at
`{root}/{dataset}/{stage}/ds=YYYY-MM-DD/{run}/manifest.json`, its files in the attempt's folder
beside it. Of two attempts at one run (a zombie and its retry) one wins; the other removes what it
wrote and takes the winner's manifest. Forgetting a user alone replaces a manifest, by one whose
attempt holds the same without that user (`recjobs/forgetting/runs.py`).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from recjobs import storage
from recjobs.errors import CorruptFileError, GateRefusedError, MissingInputError

MANIFEST_NAME = "manifest.json"
PREVIOUS_EXTRACT, PREVIOUS_TRAIN = "previous/extract", "previous/retrieve/train"
"""Inputs that a stage goes on from."""
WARM_NIGHTS, DRIFT = "warm_nights", "drift"
"""Metrics of `retrieve/train` that plans go by: nights since the last training in full, how far towers have drifted."""
RESUME = "resume"
"""The folder beside a run's attempts with what a killed one can go on from; it is no attempt, and no result."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cutoffs(_Record):
    """The three cutoffs of DESIGN §3. Each date is the last day that may be read, whole, in UTC."""

    train_until: date
    history_until: date
    label_days: int


class Check(_Record):
    """One post-condition, with the value seen and the limit from settings."""

    name: str
    passed: bool
    value: float
    limit: float
    detail: str
    severity: Literal["refuse", "warn"] = "refuse"


class SourceFile(_Record):
    """One input file as it was when the run was planned."""

    uri: str
    digest: str
    size: int
    day: date | None = None
    """The arrival day or snapshot date it belongs to; none for an undated snapshot."""

    @property
    def name(self) -> str:
        """Its name without the folders."""
        return self.uri.rsplit("/", 1)[-1]


SOURCE_KINDS = ("events", "items", "users")
"""What a run is made from. A date is stale where these have changed."""


class Sources(_Record):
    """The input files one run reads, pinned by its plan, and the users it leaves out."""

    events: tuple[SourceFile, ...] = ()
    items: tuple[SourceFile, ...] = ()
    users: tuple[SourceFile, ...] = ()
    titles: tuple[SourceFile, ...] = ()
    """Older snapshots of items, the newest first: what those were called that the newest no longer has. Old snapshots
    are thrown away, and that makes no date stale."""
    forgotten: tuple[str, ...] = ()
    """Digests of the tombstones there were, sorted."""
    lifted: tuple[str, ...] = ()
    """Names of the tombstones that had been taken away again, sorted."""


class InputRef(_Record):
    """A manifest that a stage reads."""

    uri: str
    digest: str


class Manifest(_Record):
    """What a stage read, made, checked and cost. `folder` holds its files."""

    stage: str
    ds: date
    run: str
    attempt: str
    folder: str
    cutoffs: Cutoffs
    rows: dict[str, int] = {}
    metrics: dict[str, float] = {}
    checks: tuple[Check, ...] = ()
    timings: dict[str, float] = {}
    """Wall seconds of named parts; `total` is the whole stage, process start included."""
    notes: tuple[str, ...] = ()
    """What a reader of the run should know: undated snapshots, sources without a file, blends."""
    inputs: dict[str, InputRef] = {}
    sources: Sources = Sources()
    forgotten: dict[str, int] = {}
    """Tombstones (by digest) whose users are in none of the files, with the `user_index` that each had; 0: none."""
    config: dict[str, Any] = {}
    code_version: str = ""
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    def uri(self, *parts: str) -> str:
        """The URI of one of the stage's files."""
        return storage.join(self.folder, *parts)

    def parts(self, *folder: str) -> list[storage.StoredFile]:
        """The files of a sharded output, in the order of their shards."""
        return storage.list_files(self.uri(*folder))

    def shards(self, *folder: str) -> list[list[storage.StoredFile]]:
        """The files of a sharded output by shard: those below `folder` that are named alike, in the order of names.

        Canonical events have a file a shard in each week's folder.
        """
        found: dict[str, list[storage.StoredFile]] = {}
        for file in self.parts(*folder):
            found.setdefault(file.name.rpartition("/")[2], []).append(file)
        return [found[name] for name in sorted(found)]

    def raise_if_refused(self) -> None:
        """Raises GateRefusedError when a check that refuses has failed."""
        failed = [check for check in self.checks if not check.passed and check.severity == "refuse"]
        if failed:
            reasons = "; ".join(f"{check.name}: {check.detail}" for check in failed)
            raise GateRefusedError(
                f"{self.stage} of {self.ds} refused: {reasons}. The lists that are live stay live. "
                f"The report is in {self.folder}.",
                stage=self.stage,
                ds=str(self.ds),
                checks=[check.name for check in failed],
            )


@dataclass(frozen=True)
class Inputs:
    """What a stage may read: pinned manifests by name, and for `extract` the source files."""

    ds: date
    cutoffs: Cutoffs
    manifests: Mapping[str, Manifest]
    sources: Sources = field(default_factory=Sources)
    tombstones: str | None = None
    """The folder of the data set's tombstones, for `publish`, which compares them with the database's."""

    def __getitem__(self, name: str) -> Manifest:
        try:
            return self.manifests[name]
        except KeyError:
            raise MissingInputError(
                f"input {name!r} was not pinned; this run has {sorted(self.manifests)}. Plan the run again.",
                input=name,
            ) from None

    def get(self, name: str) -> Manifest | None:
        """The manifest, or None where the plan found none to pin."""
        return self.manifests.get(name)


@dataclass(frozen=True)
class Output:
    """Where a stage writes: the folder of one attempt, which nobody else writes to."""

    stage: str
    ds: date
    run: str
    cutoffs: Cutoffs
    run_folder: str
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    @property
    def folder(self) -> str:
        """The attempt's folder."""
        return storage.join(self.run_folder, self.attempt)

    def uri(self, *parts: str) -> str:
        """The URI for a file of this attempt."""
        return storage.join(self.folder, *parts)

    def manifest(
        self,
        *,
        rows: Mapping[str, int],
        metrics: Mapping[str, float] | None = None,
        checks: Sequence[Check] = (),
        timings: Mapping[str, float] | None = None,
        notes: Sequence[str] = (),
    ) -> Manifest:
        """The manifest of this attempt, still to be completed and stored by the runner."""
        return Manifest(
            stage=self.stage,
            ds=self.ds,
            run=self.run,
            attempt=self.attempt,
            folder=self.folder,
            cutoffs=self.cutoffs,
            rows=dict(rows),
            metrics=dict(metrics or {}),
            checks=tuple(checks),
            timings=dict(timings or {}),
            notes=tuple(notes),
        )


def cutoffs_of(ds: date, *, train_lag_days: int, history_lag_days: int, label_days: int) -> Cutoffs:
    """The cutoffs of the run for `ds`; with no lag all follow `ds`."""
    return Cutoffs(
        train_until=ds - timedelta(days=train_lag_days),
        history_until=ds - timedelta(days=history_lag_days),
        label_days=label_days,
    )


def digest_of(content: bytes) -> str:
    """The digest by which a manifest is pinned."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def store(manifest: Manifest, run_folder: str) -> tuple[str, Manifest]:
    """Stores `manifest` as its run's, unless another attempt was first.

    Returns the manifest's URI and the manifest that counts: this one, or the winner's, in which
    case this attempt's files are removed.
    """
    uri = storage.join(run_folder, MANIFEST_NAME)
    if storage.create_once(uri, manifest.model_dump_json(indent=2).encode()):
        return uri, manifest
    winner = load(uri)
    if winner.attempt != manifest.attempt:
        storage.delete_folder(manifest.folder)
    return uri, winner


def load(uri: str) -> Manifest:
    """The manifest at `uri`.

    Raises:
        MissingInputError: none is there.
        CorruptFileError: it is no manifest.
    """
    try:
        return Manifest.model_validate_json(storage.read_bytes(uri))
    except ValidationError as error:
        raise CorruptFileError(
            f"{uri} is no manifest ({error.error_count()} faults). Delete its folder and run the stage again.",
            uri=uri,
        ) from error
