"""What is judged: data sets, the dates whose lists are judged, and the figures to stand beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from recjobs.sources.online_retail import import_online_retail
from recjobs.sources.sequences import LAST_DATE, import_sequences

Measure = tuple[str, int]
"""A measure's name and the length of the list it looks at."""


@dataclass(frozen=True)
class Case:
    """Lists of `ds`, judged on the `days` after it. `protocol` groups the cases that are averaged."""

    name: str
    protocol: str
    ds: date
    days: int
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def until(self) -> date:
        """The last day of outcomes."""
        return self.ds + timedelta(days=self.days)


@dataclass(frozen=True)
class DataSet:
    """A real data set. `source` is below the folder of data sets."""

    name: str
    config: str
    source: str
    importer: Callable[[Path, str], Any]
    cases: tuple[Case, ...]
    validation: tuple[Case, ...]
    """Earlier than all cases' outcomes: what settings and parameters are chosen on."""
    at: tuple[int, ...]
    measures: tuple[Measure, ...]
    """Those that are printed and drawn, in this order."""
    chosen_by: Measure
    """What the baselines' parameters maximise on the validation cases."""
    own_items: bool
    """Whether a list may hold what the user had before."""
    baselines: tuple[str, ...]
    one_history: bool
    """Whether the cases are dates of one history, so that they share their artefacts and the ranker learns from
    the weeks before as it would after months of nights."""
    references: Mapping[str, Mapping[str, Mapping[Measure, float]]]
    """By protocol and name: figures of others, drawn as lines; `target` is what ours is to reach."""


def import_beauty(source: Path, into: str) -> None:
    """The sequences with their items' attributes."""
    import_sequences(source / "sequences.txt", into, attributes=source / "item_attributes.json")


_BEFORE_LAST = LAST_DATE - timedelta(days=1)
_R10, _N10 = ("recall", 10), ("ndcg", 10)

BEAUTY = DataSet(
    name="beauty",
    config="sequences",
    source="amazon-beauty",
    importer=import_beauty,
    cases=(
        # Nor may the ranker learn from the validation item: its labels are the items before, by what was known then.
        Case("published", "published", _BEFORE_LAST, 1, {"time.train_lag_days": 1, "time.label_days": 2}),
        Case("final", "final", _BEFORE_LAST, 1),
    ),
    validation=(Case("validation", "validation", _BEFORE_LAST - timedelta(days=1), 1),),
    at=(5, 10),
    measures=(("recall", 5), ("ndcg", 5), _R10, _N10, ("coverage", 10), ("gini", 10)),
    chosen_by=_N10,
    own_items=False,
    baselines=("popularity", "ials", "ease", "sequence_knn"),
    one_history=False,
    references={
        "published": {
            "target": {_R10: 0.095, _N10: 0.058},
            "target of finished lists": {_R10: 0.102, _N10: 0.062},
            "item-KNN (README)": {_R10: 0.0821, _N10: 0.0509},
            "eSASRec (paper)": {_R10: 0.0928, _N10: 0.0523},
        },
        "final": {
            "target": {_R10: 0.108, _N10: 0.066},
            "target of finished lists": {_R10: 0.115, _N10: 0.072},
            "item-KNN (README)": {_R10: 0.0914, _N10: 0.0570},
            "attention tower (README)": {_R10: 0.1073, _N10: 0.0648},
        },
    },
)

_CUTOFFS = (date(2011, 9, 5), date(2011, 9, 19), date(2011, 10, 3), date(2011, 10, 17))
_EARLIER_WEEKS = (date(2011, 8, 8), date(2011, 8, 22))
"""The outcomes of the second end on 29 August, before the first cutoff."""
_SHOP_MEASURES = (("recall", 20), ("ndcg", 20), ("recall_new", 20), ("ndcg_new", 20))

ONLINE_RETAIL = DataSet(
    name="online-retail",
    config="online-retail",
    source="online-retail/by-day",
    importer=import_online_retail,
    cases=tuple(Case(str(ds), "next 7 days", ds, 7) for ds in _CUTOFFS),
    validation=tuple(Case(str(ds), "validation", ds, 7) for ds in _EARLIER_WEEKS),
    at=(20,),
    measures=(*_SHOP_MEASURES, ("coverage", 20), ("gini", 20)),
    chosen_by=("ndcg", 20),
    own_items=True,
    baselines=("popularity", "ials", "ease", "sequence_knn", "repeat", "ease_repeat"),
    one_history=True,
    references={},
)

DATA_SETS = {data_set.name: data_set for data_set in (BEAUTY, ONLINE_RETAIL)}
