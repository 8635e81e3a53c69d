"""Every column name, written once, and the Arrow schemas of what stages hand to each other.

`docs/artefacts.md` says what each file means; this module is what code imports. Indexes start
at 1 and 0 means unknown or missing, so that an embedding's row 0 is the unknown row.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

# -- identity and input columns (DESIGN §4)
USER = "user_id"
ITEM = "item_id"
EVENT_TYPE = "event_type"
TIMESTAMP = "timestamp"
EVENT_ID = "event_id"
VALUE = "value"
QUANTITY = "quantity"
QUERY = "query"
COUNTRY = "country"
REGION = "region"
DEVICE = "device"
LANGUAGE = "language"
SESSION = "session_id"
SURFACE = "surface"
ARRIVAL_DATE = "arrival_date"

TITLE = "title"
DESCRIPTION = "description"
CATEGORY = "category"
BRAND = "brand"
SELLER = "seller"
PRICE = "price"
CREATED_AT = "created_at"
AVAILABLE = "available"

AGE_BAND = "age_band"
SIGNUP_AT = "signup_at"
INTERESTS = "interests"

# -- states
USER_INDEX = "user_index"
ITEM_INDEX = "item_index"
HISTORY_ITEM = "history_item"
HISTORY_TYPE = "history_type"
HISTORY_TIME = "history_time"
HISTORY_DEVICE = "history_device"
PAIR_ITEM = "pair_item"
PAIR_TYPE = "pair_type"
PAIR_COUNT = "pair_count"
PAIR_LAST = "pair_last"
N_EVENTS = "n_events"
N_USERS = "n_users"
TRAIN_EVENTS = "train_events"
"""An item's events until `train_until`: what training knows of it. N_EVENTS are those until `history_until`."""
FIRST_EVENT = "first_event"
LAST_EVENT = "last_event"
ACTIVE_DAYS = "active_days"
USUAL_PRICE = "usual_price"
USUAL_DEVICE = "usual_device"
TITLE_TOKENS = "title_tokens"

# -- vocabulary
VOCABULARY_COLUMN = "column"
VOCABULARY_VALUE = "value"
VOCABULARY_INDEX = "index"
VOCABULARY_COUNT = "count"
TOKEN = "token"

# -- quarantine
FILE = "file"
LINE = "line"
REASON = "reason"
ROW = "row"

# -- vectors, candidates, scores, lists
VECTOR = "vector"
SCORE = "score"
SOURCE = "source"
SIMILAR_INDEX = "similar_index"
SIMILAR_ITEM = "similar_item_id"
RETRIEVAL_SCORE = "retrieval_score"
RETRIEVAL_RANK = "retrieval_rank"
REGIME = "regime"
SEGMENT = "segment"
PROPENSITY = "propensity"
CLUSTER = "cluster"
ELIGIBLE = "eligible"
RULED = "ruled"
AGE_DAYS = "age_days"
"""What rules call an item's age: days since it was created, or first seen where that is unknown."""

SOURCES = ("towers", "cooccurrence", "repeat", "segment", "new", "fill", "ease")
"""Where candidates come from; bit i of column `source` says that source i proposed the candidate.

`fill` marks what was taken from further down the towers' list because sources agreed or had too little. New
sources go to the end: stored candidates hold bits by place."""
SCORED_SOURCES = tuple(name for name in SOURCES if name != "fill")
"""The sources with a score of their own."""

SEPARATOR = "\x1f"
"""Between the ids of a stored list (the unit separator); no id may hold it."""

LONGEST_ID = 2000
"""Bytes of the longest id: what an index entry of Postgres holds beside the rest of its key."""

WARM, COLD = "warm", "cold"
"""Values of column `regime`."""

GLOBAL_SEGMENT = "all"
"""The segment that everybody is in."""

TIME_TYPE = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_INDEXES = pa.list_(pa.int32())
_FLOATS = pa.list_(pa.float32())

EVENT_SCHEMA = pa.schema(
    [
        pa.field(USER, _TEXT, nullable=False),
        pa.field(ITEM, _TEXT),
        pa.field(EVENT_TYPE, _TEXT, nullable=False),
        pa.field(TIMESTAMP, TIME_TYPE, nullable=False),
        pa.field(EVENT_ID, _TEXT),
        pa.field(VALUE, pa.float64()),
        pa.field(QUANTITY, pa.float64()),
        pa.field(QUERY, _TEXT),
        pa.field(COUNTRY, _TEXT),
        pa.field(REGION, _TEXT),
        pa.field(DEVICE, _TEXT),
        pa.field(LANGUAGE, _TEXT),
        pa.field(SESSION, _TEXT),
        pa.field(SURFACE, _TEXT),
        pa.field(ARRIVAL_DATE, pa.date32(), nullable=False),
    ]
)
"""Canonical events, `extract`'s `events/from=…/part-*.parquet`."""

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field(FILE, _TEXT, nullable=False),
        pa.field(LINE, pa.int64(), nullable=False),
        pa.field(REASON, _TEXT, nullable=False),
        pa.field(ROW, _TEXT, nullable=False),
    ]
)

VOCABULARY_SCHEMA = pa.schema(
    [
        pa.field(VOCABULARY_COLUMN, _TEXT, nullable=False),
        pa.field(VOCABULARY_VALUE, _TEXT, nullable=False),
        pa.field(VOCABULARY_INDEX, pa.int32(), nullable=False),
        pa.field(VOCABULARY_COUNT, pa.int64(), nullable=False),
    ]
)


def source_bit(source: str) -> int:
    """The bit in column `source` of one of `SOURCES`."""
    return 1 << SOURCES.index(source)


def source_score(source: str) -> str:
    """The name of the candidates' column with the scores of one of `SCORED_SOURCES`."""
    return f"score_{source}"


CANDIDATE_SCHEMA = pa.schema(
    [
        pa.field(USER, _TEXT, nullable=False),
        pa.field(ITEM_INDEX, _INDEXES, nullable=False),
        pa.field(SCORE, _FLOATS, nullable=False),
        pa.field(SOURCE, pa.list_(pa.int16()), nullable=False),
        *(pa.field(source_score(source), _FLOATS) for source in SCORED_SOURCES),
    ]
)
"""`retrieve/search`'s `candidates/part-*.parquet`; the scores of a source that is off are null."""

SIMILAR_SCHEMA = pa.schema(
    [
        pa.field(ITEM_INDEX, pa.int32(), nullable=False),
        pa.field(ITEM, _TEXT, nullable=False),
        pa.field(SIMILAR_INDEX, _INDEXES, nullable=False),
        pa.field(SCORE, _FLOATS, nullable=False),
    ]
)

LIST_SCHEMA = pa.schema(
    [
        pa.field(USER, _TEXT, nullable=False),
        pa.field(ITEM, pa.list_(_TEXT), nullable=False),
        pa.field(SCORE, _FLOATS, nullable=False),
        pa.field(REASON, pa.list_(_TEXT), nullable=False),
        pa.field(REGIME, _TEXT, nullable=False),
    ]
)

PROPENSITY_FIELD = pa.field(PROPENSITY, _FLOATS)
"""A further column of lists on surfaces that explore: by place the chance that exploring puts this item there, null at
every place that it did not fill."""

ITEM_LIST_SCHEMA = pa.schema(
    [
        pa.field(ITEM, _TEXT, nullable=False),
        pa.field(SIMILAR_ITEM, pa.list_(_TEXT), nullable=False),
        pa.field(SCORE, _FLOATS, nullable=False),
    ]
)

SEGMENT_LIST_SCHEMA = pa.schema(
    [
        pa.field(SEGMENT, _TEXT, nullable=False),
        pa.field(ITEM, pa.list_(_TEXT), nullable=False),
        pa.field(SCORE, _FLOATS, nullable=False),
        pa.field(REASON, pa.list_(_TEXT), nullable=False),
    ]
)


def tokens_column(text_column: str) -> str:
    """The name of the column with the tokens of a text column: `title_tokens`."""
    return f"{text_column}_tokens"


def told_field(user_column: str) -> str:
    """The name in training sequences of what a user's column says; no field of an event has such a name."""
    return f"user:{user_column}"


def count_column(event_type: str, days: int) -> str:
    """The name of the count of `event_type` in the last `days` days."""
    return f"count_{event_type}_{days}d"


def probability_column(task: str) -> str:
    """The name of the ranker's probability for `task`."""
    return f"p_{task}"


def scored_schema(tasks: Iterable[str]) -> pa.Schema:
    """`rank/score`'s `scored/part-*.parquet`: candidates with final scores, best first."""
    return pa.schema(
        [
            pa.field(USER, _TEXT, nullable=False),
            pa.field(ITEM_INDEX, _INDEXES, nullable=False),
            pa.field(SCORE, _FLOATS, nullable=False),
            pa.field(RETRIEVAL_SCORE, _FLOATS, nullable=False),
            pa.field(RETRIEVAL_RANK, _INDEXES, nullable=False),
            *(pa.field(probability_column(task), _FLOATS, nullable=False) for task in tasks),
        ]
    )


def part_name(shard: int, extension: str = "parquet") -> str:
    """The name of shard `shard`'s file: the same in every stage, so that shards line up."""
    return f"part-{shard:05d}.{extension}"
