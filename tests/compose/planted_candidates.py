"""Candidates, scores and similar items for a planted `extract`, as `retrieve/search` and `rank/score` write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recjobs import columns
from recjobs.manifest import Inputs, Manifest, Output
from recjobs.settings import Settings


def planted_inputs(
    folder: Path, extract: Manifest, settings: Settings, *, candidates: int = 15, seed: int = 1
) -> Inputs:
    """What `compose` reads: users like their own group best, and items are near others of their group."""
    search = _output(folder, "retrieve/search", extract)
    scored = _output(folder, "rank/score", extract)
    items = pl.read_parquet(extract.uri("items.parquet"))
    groups = np.r_[-1, _group(items[columns.ITEM], 4)]
    _write_similar(items, groups, search.uri("similar.parquet"))
    random = np.random.default_rng(seed)
    tastes = np.eye(4, dtype=np.float32)
    write_vectors(
        search.uri("item_vectors.parquet"), {columns.ITEM_INDEX: items[columns.ITEM_INDEX]}, tastes[groups[1:]]
    )
    for part in extract.parts("users"):
        users = pl.read_parquet(part.uri)
        own = tastes[_group(users[columns.USER], 4)]
        write_vectors(search.uri("user_vectors", part.name), {columns.USER: users[columns.USER].cast(pl.String)}, own)
        affinity = _group(users[columns.USER], 4)[:, None] == groups[None, 1:]
        scores = (affinity + 0.5 * random.random(affinity.shape)).astype(np.float32)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :candidates]
        write_scored(
            scored.uri("scored", part.name),
            users[columns.USER].to_list(),
            (best + 1).tolist(),
            np.take_along_axis(scores, best, axis=1).tolist(),
            settings,
        )
    manifests = {
        "extract": extract,
        "retrieve/search": search.manifest(rows={}),
        "rank/score": scored.manifest(rows={}),
    }
    return Inputs(extract.ds, extract.cutoffs, manifests)


def write_scored(
    uri: str, users: list[str], items: list[list[int]], scores: list[list[float]], settings: Settings
) -> None:
    """A part of `rank/score` with these lists."""
    ranks = [list(range(len(row))) for row in items]
    schema = columns.scored_schema(settings.tasks())
    data = {columns.USER: users, columns.ITEM_INDEX: items, columns.SCORE: scores}
    data |= {columns.RETRIEVAL_SCORE: scores, columns.RETRIEVAL_RANK: ranks}
    data |= {columns.probability_column(task): scores for task in settings.tasks()}
    write_table(pa.table([pa.array(data[field.name], field.type) for field in schema], schema=schema), uri)


def write_vectors(uri: str, ids: dict[str, pl.Series], vectors: np.ndarray) -> None:
    """Vectors of users or items, as `retrieve/search` writes them."""
    told = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    write_table(pa.table({**{name: values.to_arrow() for name, values in ids.items()}, columns.VECTOR: told}), uri)


def write_table(table: pa.Table, uri: str) -> None:
    """`table` as Parquet at `uri`."""
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, uri)


def _write_similar(items: pl.DataFrame, groups: np.ndarray, uri: str) -> None:
    own = groups[1:]
    near = [[int(other) + 1 for other in np.flatnonzero(own == group) if other != at] for at, group in enumerate(own)]
    table = pa.table(
        [
            items[columns.ITEM_INDEX].to_arrow(),
            items[columns.ITEM].to_arrow().cast(pa.string()),
            pa.array(near, pa.list_(pa.int32())),
            pa.array([np.linspace(0.9, 0.1, len(row)).tolist() for row in near], pa.list_(pa.float32())),
        ],
        schema=columns.SIMILAR_SCHEMA,
    )
    write_table(table, uri)


def _group(names: pl.Series, groups: int) -> np.ndarray:
    return names.str.slice(1).cast(pl.Int64).to_numpy() % groups


def _output(folder: Path, stage: str, extract: Manifest) -> Output:
    return Output(stage, extract.ds, "planted", extract.cutoffs, str(folder / stage / str(extract.ds)))


def output(folder: Path, stage: str, inputs: Inputs) -> Output:
    """Where a stage under test writes."""
    return Output(stage, inputs.ds, "test", inputs.cutoffs, str(folder / stage / str(inputs.ds)))
