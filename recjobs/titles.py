"""Titles and prices of items as the live generation's run knew them, for people who read lists."""

from __future__ import annotations

from dataclasses import dataclass

from recjobs import columns, storage
from recjobs.manifest import Manifest, load
from recjobs.plan import plans_of
from recjobs.publish.reading import live
from recjobs.settings import Settings


@dataclass(frozen=True)
class ItemFacts:
    """What a reader wants to know of an item besides its id; None where it is unknown."""

    title: str | None = None
    price: float | None = None


def live_items(settings: Settings) -> dict[str, ItemFacts]:
    """The facts by item id; empty when nothing is live or its artefacts are not in this `root`."""
    generation = live(settings)
    if generation is None:
        return {}
    for plan in reversed(plans_of(settings, generation.ds)):
        if plan.steps["compose"].run == generation.run and storage.exists(plan.steps["extract"].manifest_uri):
            return items_of(load(plan.steps["extract"].manifest_uri))
    return {}


def items_of(extract: Manifest) -> dict[str, ItemFacts]:
    """The facts by item id in an `extract` artefact."""
    import polars as pl

    with storage.reading(extract.uri("items.parquet")) as stream:
        frame = pl.read_parquet(stream, columns=[columns.ITEM, columns.TITLE, columns.PRICE])
    return {item: ItemFacts(title, price) for item, title, price in frame.iter_rows()}
