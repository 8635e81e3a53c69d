"""A pass over files or shards as a Beam pipeline whose elements are references, never rows.

Workers write what they make; what comes back per element is a small record. An error of ours
raised on a worker arrives here with its own class: Beam alone would turn it into a RuntimeError.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from recjobs import storage
from recjobs.errors import RecjobsError, from_record, to_record
from recjobs.pipeline import BeamConfig, pipeline

logger = logging.getLogger(__name__)

Record = dict[str, Any]


def run_pass(
    config: BeamConfig, name: str, work: Sequence[Any], function: Callable[[Any], Record], scratch: str
) -> list[Record]:
    """Calls `function` for each element of `work` on Beam's workers; returns the records in the order of `work`.

    `function` must be picklable, may run more than once for an element, and returns JSON-serialisable
    values. Records are kept below `scratch` until read.

    Raises:
        RecjobsError: what `function` raised for the first element that failed.
    """
    import apache_beam as beam

    started = time.perf_counter()
    folder = storage.join(scratch, "records", name)
    with pipeline(config) as graph:
        _ = (
            graph
            | f"{name}: list" >> beam.Create(list(enumerate(work)))
            | f"{name}: spread" >> beam.Reshuffle()
            | f"{name}: run" >> beam.Map(partial(_record, function, folder))
        )
    records = [json.loads(storage.read_bytes(_record_uri(folder, number))) for number in range(len(work))]
    for record in records:
        if "fault" in record:
            raise from_record(record["fault"])
    logger.info("%s: %d parts in %.1f s", name, len(work), time.perf_counter() - started)
    return [record["result"] for record in records]


def _record(function: Callable[[Any], Record], folder: str, element: tuple[int, Any]) -> None:
    number, work = element
    try:
        record = {"result": function(work)}
    except RecjobsError as error:
        record = {"fault": to_record(error)}
    storage.write_bytes(_record_uri(folder, number), json.dumps(record).encode())


def _record_uri(folder: str, number: int) -> str:
    return storage.join(folder, f"{number:06d}.json")
