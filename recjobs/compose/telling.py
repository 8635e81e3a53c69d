"""The words that tell a group of items from the others: class-based TF-IDF (Grootendorst, arXiv:2203.05794, eq. 2)."""

from __future__ import annotations

import polars as pl

GROUP, WORD, TIMES = "group", "word", "times"
_WORDS = r"[^\W\d_]{3,}"
_COUNT, _WEIGHT = "count", "weight"


def telling_words(texts: pl.DataFrame, most: int) -> dict[int, list[str]]:
    """By group up to `most` words, the most telling first.

    `texts` has `group` (int), `text` (null: none) and `times`, how often the text is to count. A word's weight in a
    group is its share of the group's words × log(1 + A / f): f how often it is used in all, A the mean number of words
    of a group. Words are three letters and longer, in lower case; ties by the alphabet.
    """
    words = (
        texts.select(GROUP, TIMES, pl.col("text").str.to_lowercase().str.extract_all(_WORDS).alias(WORD))
        .explode(WORD)
        .drop_nulls()
        .sort(GROUP, WORD, TIMES)
    )
    counts = words.group_by(GROUP, WORD, maintain_order=True).agg(pl.col(TIMES).sum().alias(_COUNT))
    mean = counts[_COUNT].sum() / max(counts[GROUP].n_unique(), 1)
    weight = pl.col(_COUNT) / pl.col(_COUNT).sum().over(GROUP) * (1 + mean / pl.col(_COUNT).sum().over(WORD)).log()
    ranked = counts.with_columns(weight.alias(_WEIGHT)).sort([GROUP, _WEIGHT, WORD], descending=[False, True, False])
    best = ranked.group_by(GROUP, maintain_order=True).head(most)
    return {group: chosen[WORD].to_list() for (group,), chosen in best.group_by(GROUP, maintain_order=True)}
