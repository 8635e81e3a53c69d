"""What a stage has just written, rid of users who were forgotten while it ran."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from recjobs import storage, tombstones
from recjobs.errors import MissingInputError
from recjobs.forgetting import files
from recjobs.forgetting.runs import scrub_of, scrub_run, without
from recjobs.manifest import Manifest, Sources, load
from recjobs.settings import Settings
from recjobs.tombstones import Forgotten, forgotten

log = logging.getLogger(__name__)


def scrubbed(manifest: Manifest, settings: Settings, inputs: Mapping[str, Manifest], sources: Sources) -> Manifest:
    """`manifest`, still to be stored, with its files rid of everybody who has a tombstone by now.

    Nobody reads these files yet, so they are written in place. Who was left out from the beginning is not looked for.
    """
    free = _left_out(inputs, sources)
    now = set(tombstones.digests(tombstones.folder_of(settings.artefacts)))
    if late := now - free.keys():
        log.info("%d users were forgotten meanwhile", len(late))
    users = forgotten(settings.dataset, late)
    held = files.held_in(manifest.folder, scrub_of(manifest, users, _index(manifest, inputs, users))) if users else []
    for one in held:
        one.write(manifest.folder)
    kept = manifest.model_copy(update={"forgotten": {digest: row for digest, row in free.items() if digest in now}})
    return without(kept, held, users)


def catch_up(stored: Manifest, settings: Settings, run_folder: str) -> None:
    """Rids a stored run of users who were forgotten between the last look and the moment it was stored."""
    late = set(tombstones.digests(tombstones.folder_of(settings.artefacts))) - stored.forgotten.keys()
    if late:
        scrub_run(settings.artefacts, stored.stage, run_folder, forgotten(settings.dataset, late))


def rewritten(inputs: Mapping[str, Manifest], uris: Mapping[str, str]) -> bool:
    """Whether an input stands elsewhere than when it was loaded: somebody was forgotten meanwhile."""
    return any(storage.exists(uris[name]) and load(uris[name]).folder != read.folder for name, read in inputs.items())


def _left_out(inputs: Mapping[str, Manifest], sources: Sources) -> dict[str, int]:
    """Whom the output can't hold: those left out of the sources where it reads some, else of every input."""
    if sources.events:
        return dict.fromkeys(sources.forgotten, 0)
    first, *others = (manifest.forgotten for manifest in inputs.values())
    return {digest: 0 for digest in first if all(digest in other for other in others)}


def _index(manifest: Manifest, inputs: Mapping[str, Manifest], users: Forgotten) -> dict[str, int]:
    """The rows that a model has of the users: from the states it was trained on, or what is said of them since."""
    if manifest.stage != files.TRAIN:
        return {}
    extract = load(manifest.inputs["extract"].uri)
    known = {digest: row for digest, row in extract.forgotten.items() if digest in users.digests}
    for states in (extract, inputs["extract"]):
        try:
            held = files.held_in(states.uri("users"), scrub_of(states, users, {}))
        except (MissingInputError, FileNotFoundError):
            # Rewritten at this moment, by somebody who notes the row.
            continue
        known |= files.index_of(held, users)
    return known
