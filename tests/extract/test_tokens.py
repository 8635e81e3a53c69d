from __future__ import annotations

import polars as pl
import pytest

from recjobs.extract.tokens import tokenise, tokens


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("WHITE HANGING HEART T-LIGHT HOLDER", ["white", "hanging", "heart", "t", "light", "holder"]),
        ("Children's mug, 2x", ["children's", "mug", "2x"]),
        ("Children’s", ["children's"]),
        ("Crème BRÛLÉE", ["crème", "brûlée"]),
        ("Cre\u0300me", ["crème"]),
        ("ＦＵＬＬ", ["full"]),
        ("Чайник синий", ["чайник", "синий"]),
        ("हिन्दी चाय", ["हिन्दी", "चाय"]),
        ("a a", ["a", "a"]),
        (" -- ", []),
        ("", []),
    ],
)
def test_words_of_any_script(title: str, words: list[str]) -> None:
    assert tokenise(title) == words


def test_a_missing_title_has_no_list() -> None:
    frame = pl.DataFrame({"title": [None, "Oak"]}).select(tokens(pl.col("title")))
    assert frame["title"].to_list() == [None, ["oak"]]
