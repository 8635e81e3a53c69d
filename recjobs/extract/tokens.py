"""The one place where a text becomes words, and words the numbers they have in the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from recjobs import columns as c

_WORD = r"[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}]+)*"
"""Letters (with their marks) and digits of any script, joined by apostrophes: `children's` is a word."""

_ROW, _TEXT = "row", "text"
_NO_WORDS = pl.DataFrame(schema={c.VOCABULARY_VALUE: pl.String()})


def tokens(texts: pl.Expr) -> pl.Expr:
    """The lower-case words of each text, in order, repeats kept: list of strings, null for a null text.

    Texts are normalised first (Unicode NFKC), so that full-width or composed letters equal plain ones.
    """
    plain = texts.str.normalize("NFKC").str.to_lowercase().str.replace_all("’", "'", literal=True)
    return plain.str.extract_all(_WORD)


def tokenise(text: str) -> list[str]:
    """The words of one text, as `tokens` makes them."""
    words: list[str] = pl.select(tokens(pl.lit(text))).item().to_list()
    return words


def word_counts(frame: pl.DataFrame, texts: Sequence[str], name: str) -> pl.DataFrame:
    """How many texts of the columns `texts` have each word, as rows (column = `name`, value, count)."""
    words = [frame.select(tokens(pl.col(text)).list.unique().alias(c.VOCABULARY_VALUE)) for text in texts]
    counted = pl.concat(words).explode(c.VOCABULARY_VALUE).drop_nulls() if words else _NO_WORDS
    return (
        counted.group_by(c.VOCABULARY_VALUE)
        .agg(pl.len().cast(pl.Int64).alias(c.VOCABULARY_COUNT))
        .select(pl.lit(name).alias(c.VOCABULARY_COLUMN), c.VOCABULARY_VALUE, c.VOCABULARY_COUNT)
        .sort(c.VOCABULARY_VALUE)
    )


def token_lists(texts: pl.Series, index: pl.DataFrame, limit: int) -> pl.Series:
    """The indexes of each text's first `limit` known words, in order: list of int32, empty where none is.

    `index` has the vocabulary's tokens and their indexes.
    """
    words = texts.to_frame(_TEXT).select(tokens(pl.col(_TEXT)).alias(c.VOCABULARY_VALUE)).with_row_index(_ROW)
    known = (
        words.explode(c.VOCABULARY_VALUE)
        .join(index, on=c.VOCABULARY_VALUE, how="inner", maintain_order="left")
        .group_by(_ROW, maintain_order=True)
        .agg(pl.col(c.VOCABULARY_INDEX).head(limit))
    )
    found = words.select(_ROW).join(known, on=_ROW, how="left", maintain_order="left")[c.VOCABULARY_INDEX]
    return found.cast(pl.List(pl.Int32)).fill_null(pl.Series([[]], dtype=pl.List(pl.Int32)))
