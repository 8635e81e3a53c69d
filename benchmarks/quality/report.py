"""Means and spreads over seeds, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.cases import DataSet, Measure
from benchmarks.quality.measuring import Measured
from benchmarks.quality.tuning import chosen_parameters
from recjobs.cli.printing import print_table


@dataclass(frozen=True)
class Summary:
    """One measure of one method: the mean over its seeds and their standard deviation (0 for one)."""

    protocol: str
    case: str
    method: str
    measure: Measure
    mean: float
    spread: float
    by_seed: dict[int, float]


def summaries(rows: Sequence[Measured]) -> list[Summary]:
    """A summary for each case, and for each protocol with several cases one of their mean, named after the protocol."""
    found = []
    for protocol, cases in _cases_by_protocol(rows).items():
        for name, members in ({case: [case] for case in cases} | {protocol: cases}).items():
            found += [_summary(protocol, name, key, values) for key, values in _collected(rows, members).items()]
    return found


def _cases_by_protocol(rows: Iterable[Measured]) -> dict[str, list[str]]:
    by_protocol: dict[str, list[str]] = {}
    for row in rows:
        names = by_protocol.setdefault(row.case.protocol, [])
        if row.case.name not in names:
            names.append(row.case.name)
    return by_protocol


_Key = tuple[str, Measure]


def _collected(rows: Iterable[Measured], cases: Sequence[str]) -> dict[_Key, dict[int, list[float]]]:
    """The values of each method and measure by seed, one for each of `cases`."""
    found: dict[_Key, dict[int, list[float]]] = {}
    for row in rows:
        if row.case.name in cases:
            for measure, value in row.figures.items():
                found.setdefault((row.method, measure), {}).setdefault(row.seed, []).append(value)
    return found


def _summary(protocol: str, case: str, key: _Key, values: dict[int, list[float]]) -> Summary:
    by_seed = {seed: float(np.mean(several)) for seed, several in values.items()}
    several = list(by_seed.values())
    spread = float(np.std(several, ddof=1)) if len(several) > 1 else 0.0
    return Summary(protocol, case, *key, float(np.mean(several)), spread, by_seed)


def print_summaries(data_set: DataSet, found: Sequence[Summary]) -> None:
    """A table for each protocol, a row for each method; single cases only in the JSON."""
    for protocol in dict.fromkeys(one.protocol for one in found):
        mine = [one for one in found if one.case == protocol]
        rows = [_line(data_set, mine, method) for method in dict.fromkeys(one.method for one in mine)]
        for name, reference in data_set.references.get(protocol, {}).items():
            rows.append([name, *(_figure(reference.get(measure), 0.0) for measure in data_set.measures)])
        header = ["", *(f"{name}@{k}" for name, k in data_set.measures)]
        print_table(f"{data_set.name}, {protocol}: mean and spread over seeds", header, rows)


def _line(data_set: DataSet, found: Sequence[Summary], method: str) -> list[str]:
    by_measure = {one.measure: one for one in found if one.method == method}
    return [method, *(_figure(by_measure[measure].mean, by_measure[measure].spread) for measure in data_set.measures)]


def _figure(mean: float | None, spread: float) -> str:
    if mean is None:
        return "–"
    return f"{mean:.4f} ± {spread:.4f}" if spread else f"{mean:.4f}"


def write_json(path: Path, data_set: DataSet, found: Sequence[Summary], overrides: dict[str, Any]) -> None:
    """Everything that was measured, with the baselines' parameters and the reference figures."""
    methods = {one.method for one in found} & set(data_set.baselines)
    content = {
        "data": data_set.name,
        "overrides": overrides,
        "parameters": {method: chosen_parameters(data_set.name, method) for method in sorted(methods)},
        "references": [
            {"protocol": protocol, "name": name, "metric": measure[0], "k": measure[1], "value": value}
            for protocol, named in data_set.references.items()
            for name, values in named.items()
            for measure, value in values.items()
        ],
        "rows": [_record(one) for one in found],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def _record(one: Summary) -> dict[str, Any]:
    metric, k = one.measure
    return {
        "protocol": one.protocol,
        "case": one.case,
        "method": one.method,
        "metric": metric,
        "k": k,
        "mean": one.mean,
        "spread": one.spread,
        "by_seed": {str(seed): value for seed, value in one.by_seed.items()},
    }
