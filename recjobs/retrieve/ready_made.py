"""Columns of vectors that others have made: of items and of users."""

from __future__ import annotations

from collections.abc import Iterable

from recjobs.errors import ModelError


def one_width(kind: str, name: str, found: Iterable[int]) -> int:
    """The width that all vectors of column `name` have; `kind` is the section that declares it, `items` or `users`.

    Raises:
        ModelError: they have several.
    """
    widths = sorted(set(found))
    if len(widths) > 1:
        raise ModelError(
            f"{kind}' vectors in {name!r} have {' and '.join(map(str, widths))} numbers, but need one width. "
            f"Correct the {kind}' snapshot, or leave the column out of [{kind}] vectors."
        )
    return widths[0]
