"""Builds the examples of every shard on Beam."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from recjobs import columns, pipeline, storage
from recjobs.errors import ContractError
from recjobs.manifest import Manifest
from recjobs.rank.features import FeatureSpec, ItemTable, item_table
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


class BuildExamples(beam.DoFn):  # type: ignore[misc]
    """Shard number in; the URI of that shard's stored examples out."""

    def __init__(self, sources: ExampleSources, config: Settings, folder: str) -> None:
        self._sources, self._config, self._folder = sources, config, folder

    def setup(self) -> None:
        self._ids = read_items(self._sources.earlier)[columns.ITEM]
        self._table = self._sources.item_table()

    def process(self, shard: int) -> Iterator[str]:
        sources = self._sources
        examples = build_examples(
            shard,
            sources.shards(),
            sources.extract,
            sources.earlier,
            sources.search,
            self._ids,
            self._table,
            sources.spec,
            sources.window,
            self._config,
        )
        uri = storage.join(self._folder, columns.part_name(shard, "npz"))
        write_examples(examples, uri)
        yield uri


def all_examples(sources: ExampleSources, config: Settings, folder: str) -> Examples:
    """The examples of all shards, in their order. `folder` holds them meanwhile and is gone afterwards."""
    shards = sources.shards()
    try:
        with pipeline.pipeline(config.beam) as flow:
            numbers: Any = flow | "Shards" >> beam.Create(range(shards), reshuffle=False)
            numbers | "Build examples" >> beam.ParDo(BuildExamples(sources, config, folder))
        return join_examples([read_examples(file.uri) for file in storage.list_files(folder)])
    finally:
        storage.delete_folder(folder)
