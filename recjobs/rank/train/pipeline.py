"""Builds the examples of every shard on Beam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from recjobs import columns, storage
from recjobs.errors import ContractError
from recjobs.manifest import Manifest
from recjobs.passes import run_pass
from recjobs.rank.features import FeatureSpec, ItemTable, item_table
from recjobs.rank.relations.features import Related, learn_related, load_related
from recjobs.rank.relations.learning import RELATIONS
from recjobs.rank.states import read_items
from recjobs.rank.train.examples import Examples, build_examples, join_examples, read_examples, write_examples
from recjobs.rank.train.outcomes import Window
from recjobs.settings import Settings


@dataclass(frozen=True)
class ExampleSources:
    """What examples are made of."""

    extract: Manifest
    earlier: Manifest
    search: Manifest
    spec: FeatureSpec
    window: Window

    def shards(self) -> int:
        """How many shards the earlier artefacts have.

        Raises:
            ContractError: the candidates have another number than the user states.
        """
        users, candidates = len(self.earlier.parts("users")), len(self.search.parts("candidates"))
        if users != candidates:
            raise ContractError(
                f"{self.search.folder} has {candidates} parts of candidates and {self.earlier.folder} {users} of "
                "users. Run retrieve/search again on this extract."
            )
        return users

    def item_table(self) -> ItemTable:
        """The earlier items."""
        return item_table(read_items(self.earlier), self.spec, self.earlier.cutoffs.history_until)


def _builder(sources: ExampleSources, config: Settings, folder: str) -> Callable[[int], str]:
    items = read_items(sources.earlier)
    related = load_related(items, sources.spec, storage.join(folder, RELATIONS))
    return partial(_store_examples, sources, config, folder, items[columns.ITEM], sources.item_table(), related)


def _store_examples(
    sources: ExampleSources,
    config: Settings,
    folder: str,
    ids: pl.Series,
    table: ItemTable,
    related: Related | None,
    shard: int,
) -> str:
    """Stores the examples of a shard; returns their URI."""
    examples = build_examples(
        shard,
        sources.shards(),
        sources.extract,
        sources.earlier,
        sources.search,
        ids,
        table,
        related,
        sources.spec,
        sources.window,
        config,
    )
    uri = storage.join(folder, columns.part_name(shard, "npz"))
    write_examples(examples, uri)
    return uri


def all_examples(sources: ExampleSources, config: Settings, folder: str) -> Examples:
    """The examples of all shards, in their order. `folder` holds them meanwhile and is gone afterwards."""
    work = range(sources.shards())
    prepare = partial(_builder, sources, config, folder)
    try:
        learn_related(sources.earlier, sources.spec, config.beam, storage.join(folder, RELATIONS))
        stored = run_pass(config.beam, "examples", work, prepare, storage.join(folder, "pass"))
        return join_examples([read_examples(uri) for uri in stored])
    finally:
        storage.delete_folder(folder)
