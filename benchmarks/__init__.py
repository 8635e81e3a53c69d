"""Measures, beside yardsticks on the same machine: `python -m benchmarks` for speed, `benchmarks.quality` for lists."""
