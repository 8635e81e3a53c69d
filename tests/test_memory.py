"""The peak is the program's own, not that of the process that started it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from recjobs.memory import peak_bytes

_TELL = "from recjobs.memory import peak_bytes; print(peak_bytes())"


def test_it_grows_with_what_is_held_and_a_child_starts_afresh() -> None:
    before = peak_bytes()
    size = before + (300 << 20)
    held = np.ones(size, np.uint8)
    assert peak_bytes() > size
    child = subprocess.run([sys.executable, "-c", _TELL], capture_output=True, text=True, check=True)
    assert 1 << 20 < int(child.stdout) < 200 << 20 < len(held)
