"""Beam pipelines by config: the same code on this machine, Flink, Spark or Dataflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from recjobs.typed import Section

if TYPE_CHECKING:
    import apache_beam as beam


class BeamConfig(Section):
    """Where Beam pipelines run."""

    runner: str = "local"
    """`local`, or any Beam runner by name: FlinkRunner, SparkRunner, DataflowRunner."""
    options: list[str] = []
    """Beam pipeline options as on its command line, e.g. `--region=europe-west1`."""
    shards: int = Field(16, ge=1, le=4096)
    """How many shards users are split into; memory is bounded by one shard."""


def pipeline(config: BeamConfig) -> beam.Pipeline:
    """A pipeline on the configured runner. Local runs never try to download a runner."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    options = PipelineOptions(config.options)
    if config.runner == "local":
        return beam.Pipeline(runner=FnApiRunner(), options=options)
    return beam.Pipeline(runner=config.runner, options=options)
