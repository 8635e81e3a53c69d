"""What a training needs to go on after a kill, saved beside the run's attempts, and valid for the same inputs alone.

It stands in `{run}/resume/{phase}/`, outlives an attempt that died, and goes when the run's manifest is stored. It is
no result: no manifest names it. It holds users' rows of the embedding, so

- it counts only for the inputs and the tombstones it was made with, and is deleted where it does not;
- `recjobs forget` deletes it as what an unfinished attempt has left;
- nothing is saved once somebody has been forgotten meanwhile. The tombstone comes before the search for what there is,
  and is looked for again after a save: so either the search sees the save, or the save sees the tombstone.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recjobs import storage, tombstones
from recjobs.errors import MissingInputError
from recjobs.manifest import RESUME, Inputs, Output, digest_of
from recjobs.retrieve.framework import tf
from recjobs.retrieve.train.curves import Curves
from recjobs.retrieve.train.weights import Arrays, read_arrays, write_arrays

log = logging.getLogger(__name__)

_STATE, _LAST, _BEST = "state.json", "last.npz", "best.npz"


@dataclass
class Progress:
    """How far a training has come: its curves, all numbers after the last epoch, and those after the best one."""

    curves: Curves = field(default_factory=Curves)
    last: Arrays | None = None
    best: Arrays | None = None
    """None where nothing is validated: then the last epoch is the one that is kept."""


class Resume:
    """Saves and finds the progress of one phase of a run's training."""

    def __init__(self, inputs: Inputs, out: Output, phase: str, minutes: float) -> None:
        self._inputs = inputs
        self._folder = storage.join(out.run_folder, RESUME, phase)
        self._attempt = out.attempt
        self._seconds = 60 * minutes
        self._key = self._current_key()
        self._saved_at = time.monotonic()
        self._saved: str | None = None

    def found(self) -> Progress:
        """The furthest progress that is valid; from the beginning where there is none. What is not valid is deleted."""
        furthest = Progress()
        for name in storage.list_folders(self._folder):
            progress = self._read(storage.join(self._folder, name))
            if progress is None:
                storage.delete_folder(storage.join(self._folder, name))
            elif len(progress.curves.epochs) > len(furthest.curves.epochs):
                furthest = progress
        if furthest.last is not None:
            log.info("going on after epoch %d, where an earlier attempt ended", len(furthest.curves.epochs))
        return furthest

    def is_due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_at >= self._seconds

    def save(self, progress: Progress) -> None:
        """Saves, in place of what this attempt saved before, unless somebody has been forgotten meanwhile."""
        if self._current_key() != self._key:
            self._discard()
            return
        folder = storage.join(self._folder, f"{len(progress.curves.epochs):05d}-{self._attempt}")
        assert progress.last is not None
        write_arrays(storage.join(folder, _LAST), progress.last)
        if progress.best is not None:
            write_arrays(storage.join(folder, _BEST), progress.best)
        content = {"key": self._key, "curves": progress.curves.dump(), "best": progress.best is not None}
        storage.write_bytes(storage.join(folder, _STATE), json.dumps(content).encode())
        before, self._saved = self._saved, folder
        if before is not None:
            storage.delete_folder(before)
        self._saved_at = time.monotonic()
        if self._current_key() != self._key:
            self._discard()

    def _discard(self) -> None:
        log.info("somebody was forgotten meanwhile: nothing is kept of how far this attempt has come")
        if self._saved is not None:
            storage.delete_folder(self._saved)
            self._saved = None

    def _read(self, folder: str) -> Progress | None:
        """The progress in `folder`; None for one of other inputs, one half written, or one that has gone meanwhile."""
        try:
            content = json.loads(storage.read_bytes(storage.join(folder, _STATE)))
            if content["key"] != self._key:
                return None
            last = read_arrays(storage.join(folder, _LAST))
            best = read_arrays(storage.join(folder, _BEST)) if content["best"] else None
        except MissingInputError:
            return None
        return Progress(Curves.of(content["curves"]), last, best)

    def _current_key(self) -> str:
        content = {
            "inputs": {name: [read.folder, sorted(read.forgotten)] for name, read in self._inputs.manifests.items()},
            "tombstones": _tombstones(self._inputs),
            "tensorflow": tf.__version__,
        }
        return digest_of(json.dumps(content, sort_keys=True).encode())


def _tombstones(inputs: Inputs) -> Mapping[str, Any]:
    folder = inputs.tombstones
    if folder is None:
        return {}
    return {"standing": tombstones.digests(folder), "lifted": tombstones.lifted(folder)}
