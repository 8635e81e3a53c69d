from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recjobs.rank.score.scoring import best_first, user_pieces
from recjobs.rank.states import Ragged

LISTS = st.lists(st.lists(st.integers(-3, 3), max_size=7), max_size=6)


@settings(deadline=None)
@given(LISTS)
def test_best_first_sorts_each_user_and_keeps_the_order_of_equals(lists: list[list[int]]) -> None:
    lengths = np.array([len(row) for row in lists], np.int64)
    scores = np.array([value for row in lists for value in row], np.float32)
    start, expected = 0, []
    for row in lists:
        expected += [start + place for place in sorted(range(len(row)), key=lambda place, row=row: -row[place])]
        start += len(row)
    assert best_first(scores, lengths).tolist() == expected


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 9), max_size=20), size=st.integers(1, 12))
def test_pieces_hold_every_user_once_in_order(lengths: list[int], size: int) -> None:
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    pieces = user_pieces(offsets, size)
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(len(lengths)))
    assert len(pieces) >= 1
    for piece in pieces:
        # Whole users: one may be more than a piece should hold.
        assert offsets[piece.stop] - offsets[piece.start] <= size + 9


@settings(deadline=None)
@given(lists=LISTS, data=st.data())
def test_a_part_of_lists_is_what_slicing_gives(lists: list[list[int]], data: st.DataObject) -> None:
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    whole = Ragged(np.array([value for row in lists for value in row], np.int64), offsets)
    start = data.draw(st.integers(0, len(lists)))
    stop = data.draw(st.integers(start, len(lists)))
    part = whole.part(slice(start, stop))
    assert [values.tolist() for values in np.split(part.values, part.offsets[1:-1])][: stop - start] == lists[
        start:stop
    ]
    assert part.offsets[0] == 0
    assert part.lengths.tolist() == [len(row) for row in lists[start:stop]]


def test_scoring_loads_no_tensorflow() -> None:
    """It would cost a worker ten seconds and half a gigabyte, for nothing."""
    code = "import sys, recjobs.rank.score.stage, recjobs.rank.score.scoring; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
