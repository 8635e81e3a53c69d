"""Two nights of a planted dataset: the lists of the first, and what `evaluate` reads on the second."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import timedelta
from pathlib import Path

from recjobs.compose import stage as compose
from recjobs.manifest import Inputs, Manifest
from recjobs.settings import Settings
from tests.compose.planted_candidates import output, planted_inputs
from tests.planted import Planted, planted_events, planted_extract, planted_settings

COMPOSE_SECTIONS = ("compose", "items", "users", "beam", "extract")
EVALUATE_SECTIONS = ("evaluate", *COMPOSE_SECTIONS)


def planted_night(folder: Path, planted: Planted, settings: Settings) -> tuple[Manifest, Manifest]:
    """`extract` and `compose` of `planted.ds`; nothing later than that day is in them."""
    extract = planted_extract(folder, planted, events=planted_events(Planted()), sequences=False)
    inputs = planted_inputs(folder, extract, settings)
    return extract, compose.run(inputs, settings.view(COMPOSE_SECTIONS), output(folder, "compose", inputs))


def planted_nights(folder: Path) -> tuple[Settings, Inputs]:
    """Settings, and the inputs of `evaluate` on `Planted().ds` with the lists of the day before to judge."""
    planted = Planted()
    settings = planted_settings(folder, planted)
    earlier = dataclasses.replace(planted, ds=planted.ds - timedelta(days=planted.label_days))
    judged_extract, judged_lists = planted_night(folder, earlier, settings)
    extract, lists = planted_night(folder, planted, settings)
    manifests = {
        "extract": extract,
        "compose": lists,
        "judged/extract": judged_extract,
        "judged/compose": judged_lists,
    }
    return settings, Inputs(extract.ds, extract.cutoffs, manifests)


def copied(inputs: Inputs, folder: Path, to: Path) -> Inputs:
    """The same inputs in a copy of their folder, for a test that spoils them."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    manifests = {
        name: done.model_copy(update={"folder": done.folder.replace(str(folder), str(to), 1)})
        for name, done in inputs.manifests.items()
    }
    return dataclasses.replace(inputs, manifests=manifests)
