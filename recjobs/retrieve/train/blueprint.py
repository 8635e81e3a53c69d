"""What the towers of a night are built from: the catalogue, what is known of users, and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns, storage
from recjobs.errors import SettingsError
from recjobs.manifest import Manifest
from recjobs.names import TOWER_ITEM_COLUMNS
from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import ItemFeatures, item_features
from recjobs.retrieve.train.about import About
from recjobs.retrieve.train.config import RetrieveTrainConfig
from recjobs.retrieve.train.item_tower import ItemTower
from recjobs.retrieve.train.known_users import KnownUsers, known_users
from recjobs.retrieve.train.model import TwoTower
from recjobs.retrieve.train.targets import TargetRule
from recjobs.retrieve.train.texts import token_table
from recjobs.retrieve.train.user_tower import UserTower
from recjobs.settings import Settings


@dataclass(frozen=True)
class Blueprint:
    """Builds towers; `token_rows` is one more than the largest index of a token, `last_day` counts from 1970."""

    features: ItemFeatures
    known: KnownUsers
    token_rows: int
    config: RetrieveTrainConfig
    event_weight: npt.NDArray[np.float32]
    last_day: int

    def towers(self, held_out_days: int = 0) -> TwoTower:
        """Untrained towers, drawn from TensorFlow's seed, that will not learn from the last `held_out_days`."""
        items, config = self._items(), self.config
        about = About(
            self.known, size=config.embedding_size, buckets=config.user_buckets, tokens=self._user_tokens(items)
        )
        users = UserTower(
            config,
            users=self.known.largest,
            event_types=len(self.event_weight) - 1,
            dislikes=np.flatnonzero(self.event_weight < 0).tolist(),
            about=about,
        )
        return TwoTower(items, users, self.features, self._rule(held_out_days), config)

    def _items(self) -> ItemTower:
        return ItemTower(
            self.features,
            size=self.config.embedding_size,
            hash_rows=self.config.item_buckets + 1,
            token_rows=self.token_rows,
            cosine=self.config.similarity == "cosine",
            own_history=self.config.history_embedding,
            ids=self.config.item_embedding,
        )

    def _user_tokens(self, items: ItemTower) -> Any:
        """The items' table of tokens, or one of the users' own where only they have texts."""
        if not self.known.columns.text or items.token_embedding is not None:
            return items.token_embedding
        return token_table(self.token_rows, self.config.embedding_size)

    def _rule(self, held_out_days: int) -> TargetRule:
        return TargetRule(
            event_weight=tf.constant(self.event_weight),
            next_day=self.config.targets == "next_day",
            crowding=self.config.crowding,
            half_life_days=self.config.half_life_days,
            last_day=self.last_day,
            held_out_days=held_out_days,
            last_alone=self.config.positions == "last",
        )


def blueprint(extract: Manifest, config: Settings, train_until: date) -> Blueprint:
    """The blueprint of what `extract` says until `train_until`.

    Raises:
        SettingsError: a column to be ignored does not exist, or nothing is left that tells items apart.
    """
    return Blueprint(
        features=_features(extract, config, train_until),
        known=known_users(extract, config.users, ignored=config.retrieve.train.ignored_user_columns),
        token_rows=token_rows(extract),
        config=config.retrieve.train,
        event_weight=event_weights(config),
        last_day=(train_until - date(1970, 1, 1)).days,
    )


def _features(extract: Manifest, config: Settings, train_until: date) -> ItemFeatures:
    with storage.reading(extract.uri("items.parquet")) as stream:
        items = pl.read_parquet(stream)
    declared = config.items
    further = (*declared.categorical, *declared.numeric, *declared.vectors, *declared.text) if declared else ()
    items = without_columns(items, config.retrieve.train.ignored_item_columns, further)
    found = item_features(
        items,
        train_until,
        buckets=config.retrieve.train.item_buckets,
        categorical=declared.categorical if declared else (),
        numeric=declared.numeric if declared else (),
        vectors=declared.vectors if declared else (),
        text=declared.text if declared else (),
    )
    if not (found.has_content or config.retrieve.train.item_embedding):
        raise SettingsError(
            "retrieve.train.item_embedding is off and nothing but the id is known of any item, so all would be alike. "
            "Switch it on, or give [items] with a title, a category or a price."
        )
    return found


def without_columns(items: pl.DataFrame, ignored: Sequence[str], declared: Sequence[str] = ()) -> pl.DataFrame:
    """`items` as if nobody had ever given the `ignored` columns; `declared` are those read besides the usual ones.

    Raises:
        SettingsError: the towers read no such column of `items`.
    """
    readable = {*TOWER_ITEM_COLUMNS, *declared} & set(items.columns)
    for name in ignored:
        if name not in readable:
            known = ", ".join(sorted(readable))
            raise SettingsError(f"retrieve.train.ignored_item_columns: items have no column {name!r}. Known: {known}.")
    tokens = [columns.tokens_column(name) for name in ignored if columns.tokens_column(name) in items.columns]
    return items.drop(tokens).with_columns(pl.lit(None, items.schema[name]).alias(name) for name in ignored)


def event_weights(config: Settings) -> npt.NDArray[np.float32]:
    """The weight of each event code, 0 for the unknown one: float32[types + 1]."""
    weights = np.zeros(len(config.events.types) + 1, np.float32)
    for name, code in config.event_codes().items():
        weights[code] = config.events.types[name].weight
    return weights


def token_rows(extract: Manifest) -> int:
    """One more than the largest index of a token in the vocabulary: the rows of the towers' table of tokens."""
    with storage.reading(extract.uri("vocabulary.parquet")) as stream:
        vocabulary = pl.read_parquet(stream, columns=[columns.VOCABULARY_COLUMN, columns.VOCABULARY_INDEX])
    tokens = vocabulary.filter(pl.col(columns.VOCABULARY_COLUMN) == columns.TOKEN)[columns.VOCABULARY_INDEX]
    return int(tokens.max() or 0) + 1  # type: ignore[arg-type]
