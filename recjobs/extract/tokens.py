"""The one place where a title becomes words."""

from __future__ import annotations

import polars as pl

_WORD = r"[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}]+)*"
"""Letters (with their marks) and digits of any script, joined by apostrophes: `children's` is a word."""


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
