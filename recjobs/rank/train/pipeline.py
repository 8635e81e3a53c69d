"""Builds the examples of every shard on Beam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from recjobs import columns, storage
from recjobs.errors import ContractError
from recjobs.flow import MOST_WINDOWS, earlier_input
from recjobs.manifest import Inputs, Manifest
from recjobs.passes import run_pass
from recjobs.rank.block import Block
from recjobs.rank.features import FeatureSpec, ItemTable, item_table
from recjobs.rank.states import end_of, read_items
from recjobs.rank.train.examples import (
    Examples,
    build_examples,
    join_examples,
    join_windows,
    read_examples,
    write_examples,
)
from recjobs.rank.train.outcomes import Window, label_window
from recjobs.settings import Settings


@dataclass(frozen=True)
class ExampleSources:
    """What examples of a label window are made of; the last window has `number` 1."""

    extract: Manifest
    earlier: Manifest
    search: Manifest
    spec: FeatureSpec
    window: Window
    number: int = 1

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
    ids = read_items(sources.earlier)[columns.ITEM]
    return partial(_store_examples, sources, config, folder, ids, sources.item_table())


def _store_examples(
    sources: ExampleSources, config: Settings, folder: str, ids: pl.Series, table: ItemTable, shard: int
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
        sources.spec,
        sources.window,
        sources.number,
        config,
    )
    uri = storage.join(folder, columns.part_name(shard, "npz"))
    write_examples(examples, uri)
    return uri


def sources_of(inputs: Inputs, spec: FeatureSpec) -> list[ExampleSources]:
    """What the examples of each pinned window are made of, the last window first.

    Raises:
        MissingInputError: the last window was not pinned.
    """
    pinned = [n for n in range(1, MOST_WINDOWS + 1) if n == 1 or inputs.get(earlier_input("extract", n))]
    return [_window_sources(inputs, spec, number) for number in pinned]


def _window_sources(inputs: Inputs, spec: FeatureSpec, number: int) -> ExampleSources:
    earlier, search = (inputs[earlier_input(stage, number)] for stage in ("extract", "retrieve/search"))
    window = label_window(earlier, end_of(inputs.cutoffs.train_until))
    return ExampleSources(inputs["extract"], earlier, search, spec, window, number)


def all_examples(windows: Sequence[ExampleSources], config: Settings, folder: str) -> tuple[Examples, Block]:
    """The examples of all windows, and the items' rows that they point into; see `join_windows`."""
    examples = [window_examples(sources, config, storage.join(folder, str(sources.number))) for sources in windows]
    return join_windows(examples, [sources.item_table().block for sources in windows])


def window_examples(sources: ExampleSources, config: Settings, folder: str) -> Examples:
    """The examples of all shards, in their order. `folder` holds them meanwhile and is gone afterwards."""
    work = range(sources.shards())
    prepare = partial(_builder, sources, config, folder)
    try:
        stored = run_pass(config.beam, "examples", work, prepare, storage.join(folder, "pass"))
        return join_examples([read_examples(uri) for uri in stored])
    finally:
        storage.delete_folder(folder)
