"""The item tower: what is known of an item as one vector.

id (or the unknown id) ──────────────── embedding ──────────────┐
title, further texts ──── means of tokens ────┐                 + ── vector
category prefixes, brand… sum of embeddings ──┼─ norm ─ dense ──┘
price, age, numbers ───── linear ─────────────┤
ready-made vectors ────── linear ─────────────┘
"""

from __future__ import annotations

from typing import Any

from recjobs.retrieve.framework import tf
from recjobs.retrieve.item_features import Ints, ItemFeatures
from recjobs.retrieve.train.chance import uniform
from recjobs.retrieve.train.texts import Scales, mean_of_tokens, token_table

ID_DEVIATION = 0.02


class ItemTower(tf.Module):  # type: ignore[misc]
    """Item indexes to vectors. Items without a training event share the unknown id's row and live by their content.

    The features are constants of the model, so that the history encoder sees the same
    representation of an item (id and content) as the candidates do.
    """

    def __init__(
        self,
        features: ItemFeatures,
        *,
        size: int,
        hash_rows: int,
        token_rows: int,
        cosine: bool,
        own_history: bool = False,
        ids: bool = True,
    ) -> None:
        super().__init__(name="item_tower")
        self.size = size
        self.cosine = cosine
        self.ids = ids
        self.warm = features.warm
        self.features = _constants(features)
        self.id_embedding = _embedding("item_id", features.warm + 1, size)
        self.history_embedding = _embedding("history_item", features.warm + 1, size) if own_history else None
        self.content = _Content(features, size, hash_rows, token_rows) if features.has_content else None

    @property
    def token_embedding(self) -> Any:
        """The table of the vocabulary's tokens, None where no item has any."""
        return None if self.content is None else self.content.token_embedding

    def representation(self, items: Any, id_dropout: float = 0.0, unseen: bool = False) -> Any:
        """float32[N, D]: each item in int[N] as a candidate; the rest as for `both`."""
        return self.both(items, id_dropout, unseen)[0]

    def both(self, items: Any, id_dropout: float = 0.0, unseen: bool = False) -> tuple[Any, Any]:
        """Id plus content of each item as a candidate and as an event of a history, float32[N, D] each.

        Ids are dropped at random in training. `unseen` gives every item the unknown id, as if none had ever had
        an event; so does a tower without ids.
        """
        known = tf.zeros_like(items) if unseen or not self.ids else tf.where(items <= self.warm, items, 0)
        if id_dropout:
            dropped = uniform(tf.shape(items)) < id_dropout
            known = tf.where(dropped, 0, known)
        rows = tf.gather(self.id_embedding, known)
        before = rows if self.history_embedding is None else tf.gather(self.history_embedding, known)
        if self.content is None:
            return rows, before
        content = self.content({name: tf.gather(values, items) for name, values in self.features.items()})
        return rows + content, before + content

    def vector(self, representation: Any) -> Any:
        """The vector that meets the user's: of length 1 with cosine similarity."""
        return tf.math.l2_normalize(representation, axis=-1) if self.cosine else representation


class _Content(tf.Module):  # type: ignore[misc]
    """Side features to float32[N, D]: sums of embeddings, normalised, through one hidden layer."""

    def __init__(self, features: ItemFeatures, size: int, hash_rows: int, token_rows: int) -> None:
        super().__init__(name="content")
        self.text_columns = len(_texts(features))
        self.token_embedding = token_table(token_rows, size) if self.text_columns else None
        self.scales = Scales(self.text_columns, size)
        self.hash_embedding = _embedding("hashed", hash_rows, size) if features.hashed.shape[1] else None
        self.numeric = _linear(size) if features.numeric.shape[1] else None
        self.ready_made = _linear(size) if features.vectors.shape[1] else None
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.hidden = tf.keras.layers.Dense(2 * size, activation="gelu")
        self.output = tf.keras.layers.Dense(
            size, kernel_initializer=tf.keras.initializers.RandomNormal(0, ID_DEVIATION)
        )

    def __call__(self, features: dict[str, Any]) -> Any:
        parts = []
        if self.token_embedding is not None:
            texts = (features[_text_name(place)] for place in range(self.text_columns))
            parts.append(self.scales([mean_of_tokens(self.token_embedding, tokens) for tokens in texts]))
        if self.hash_embedding is not None:
            parts.append(_sum_of_known(self.hash_embedding, features["hashed"]))
        if self.numeric is not None:
            parts.append(self.numeric(features["numeric"]))
        if self.ready_made is not None:
            parts.append(self.ready_made(features["vectors"]))
        return self.output(self.hidden(self.norm(tf.add_n(parts))))


def _constants(features: ItemFeatures) -> dict[str, Any]:
    arrays: dict[str, Any] = {_text_name(place): tokens for place, tokens in enumerate(_texts(features))}
    arrays |= {
        "hashed": features.hashed,
        "numeric": features.numeric,
        "vectors": features.vectors,
    }
    return {
        name: tf.Variable(array, trainable=False, name=f"feature_{name}")
        for name, array in arrays.items()
        if array.shape[1]
    }


def _texts(features: ItemFeatures) -> list[Ints]:
    """The tokens of every text column that has any: the title's and the further ones'."""
    return [tokens for tokens in (features.tokens, *features.texts) if tokens.shape[1]]


def _text_name(place: int) -> str:
    return "tokens" if place == 0 else f"tokens_{place}"


def _embedding(name: str, rows: int, size: int) -> Any:
    return tf.Variable(tf.random.normal([rows, size], stddev=ID_DEVIATION), name=f"{name}_embedding")


def _linear(size: int) -> Any:
    return tf.keras.layers.Dense(
        size, use_bias=False, kernel_initializer=tf.keras.initializers.RandomNormal(0, ID_DEVIATION)
    )


def _sum_of_known(table: Any, indexes: Any) -> Any:
    known = tf.cast(indexes > 0, tf.float32)
    return tf.einsum("nfd,nf->nd", tf.gather(table, indexes), known)
