"""A pass over shards whose small results add up to one, on Beam.

Elements are references to shards, never rows. An error of ours raised on a worker arrives here with its own class:
Beam alone would turn it into a RuntimeError.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import apache_beam as beam

from recjobs import storage
from recjobs.errors import RecjobsError, from_record, to_record
from recjobs.pipeline import BeamConfig, pipeline

logger = logging.getLogger(__name__)

Element = TypeVar("Element")
Result = TypeVar("Result")


def combined(
    config: BeamConfig,
    name: str,
    work: Sequence[Element],
    prepare: Callable[[], Callable[[Element], Result]],
    combine: Callable[[Iterable[Result]], Result],
    scratch: str,
) -> Result:
    """`combine` of what the function that `prepare` returns gives for each element of `work` (at least one).

    `prepare` is called once on each worker: it loads what all elements need. It, `combine`, elements and results are
    picklable; `combine` is associative and commutative. The function may run more than once for an element. The
    result passes through a file below the folder `scratch`, which is gone afterwards.

    Raises:
        RecjobsError: what `prepare` or the function raised.
    """
    started = time.perf_counter()
    result_uri = storage.join(scratch, "result.pickle")
    with pipeline(config) as graph:
        _ = (
            graph
            | f"{name}: list" >> beam.Create(list(work))
            | f"{name}: spread" >> beam.Reshuffle()
            | f"{name}: run" >> beam.ParDo(_Attempt(prepare))
            | f"{name}: combine" >> beam.CombineGlobally(partial(_combined, combine)).without_defaults()
            | f"{name}: store" >> beam.Map(partial(_store, result_uri))
        )
    outcome = pickle.loads(storage.read_bytes(result_uri))
    storage.delete_folder(scratch)
    if isinstance(outcome, _Fault):
        raise from_record(outcome.record)
    logger.info("%s: %d shards in %.1f s", name, len(work), time.perf_counter() - started)
    result: Result = outcome
    return result


class _Fault:
    def __init__(self, error: RecjobsError) -> None:
        self.record = to_record(error)


class _Attempt(beam.DoFn):  # type: ignore[misc]
    def __init__(self, prepare: Callable[[], Callable[[Any], Any]]) -> None:
        self._prepare = prepare

    def setup(self) -> None:
        self._fault: _Fault | None = None
        try:
            self._function = self._prepare()
        except RecjobsError as error:
            self._fault = _Fault(error)

    def process(self, element: Any) -> Iterator[Any]:
        if self._fault is not None:
            yield self._fault
            return
        try:
            yield self._function(element)
        except RecjobsError as error:
            yield _Fault(error)


def _combined(combine: Callable[[Iterable[Any]], Any], outcomes: Iterable[Any]) -> Any:
    found = list(outcomes)
    faults = [outcome for outcome in found if isinstance(outcome, _Fault)]
    return min(faults, key=lambda fault: str(fault.record)) if faults else combine(found)


def _store(uri: str, outcome: Any) -> None:
    storage.write_bytes(uri, pickle.dumps(outcome))
