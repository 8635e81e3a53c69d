"""Casts raw cells to the kinds of the input contract. A cell that can't be cast becomes null and is told."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pyarrow as pa

from recjobs.columns import LONGEST_ID, SEPARATOR
from recjobs.sources.contract import DTYPES, Kind

UTC_MICROS = pl.Datetime("us", "UTC")
_ISO = "%Y-%m-%d %H:%M:%S%.f"
_OFFSET = r"(?i)\s*(?:Z|UTC|([+-])(\d{2}):?(\d{2})?)$"
_MICROS_BELOW = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Unix times below a limit, and what makes microseconds of them: seconds, milliseconds, microseconds."""
_TRUE = ("true", "t", "yes", "y", "1")
_FALSE = ("false", "f", "no", "n", "0")


def cast_cells(raw: pl.Series, kind: Kind) -> tuple[pl.Series, pl.Series]:
    """`raw` as `kind`, and a mask of the cells that hold a value which is none of that kind.

    - id, text: text, and integers as digits; empty text is null; an id with a NUL or a
      unit separator (U+001F, which joins stored ids) or of more than 2000 bytes (a key of Postgres
      holds no more) is bad; a NUL in a text is taken out.
    - number: finite numbers; NaN is null, infinity is bad.
    - time: timestamps; text as ISO 8601 (date, or date and time with `T` or a space; an offset or
      `Z`); integers as Unix time, told by magnitude: below 1e11 seconds, below 1e14 milliseconds,
      below 1e17 microseconds, else nanoseconds. Without a zone it is UTC.
    - flag: booleans; true/false, t/f, yes/no, y/n, 1/0.
    - vector: lists of numbers; text as a JSON array.
    """
    present = _present(raw)
    cast = present.rename(raw.name) if present.dtype == DTYPES[kind] else _CASTS[kind](present)
    bad = present.is_not_null() & cast.is_null()
    if kind == "number":
        infinite = cast.is_infinite().fill_null(value=False)
        cast, bad = cast.fill_nan(None), (bad | infinite)
    elif kind in ("id", "text") and (nul := cast.str.contains("\0", literal=True).fill_null(value=False)).any():
        cast, bad = cast.str.replace_all("\0", "", literal=True), (bad | nul) if kind == "id" else bad
    if kind == "id":
        unfit = (cast.str.len_bytes() > LONGEST_ID) | cast.str.contains(SEPARATOR, literal=True)
        bad = bad | unfit.fill_null(value=False)
    return cast, bad


def castable(kind: Kind, found: pa.DataType) -> bool:
    """Whether a Parquet column of type `found` can hold `kind` at all."""
    types = pa.types
    if types.is_null(found):
        return True
    if types.is_dictionary(found):
        found = found.value_type
    text = types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
    if kind == "vector":
        lists = types.is_list(found) or types.is_large_list(found) or types.is_fixed_size_list(found)
        return bool(text or (lists and (types.is_floating(found.value_type) or types.is_integer(found.value_type))))
    others: dict[Kind, bool] = {
        "id": types.is_integer(found),
        "text": types.is_integer(found) or types.is_boolean(found),
        "number": types.is_integer(found) or types.is_floating(found) or types.is_decimal(found),
        "time": types.is_timestamp(found) or types.is_date(found) or types.is_integer(found),
        "flag": types.is_boolean(found) or types.is_integer(found),
    }
    return bool(text or others[kind])


EXPECTED: dict[Kind, str] = {
    "id": "text or integers",
    "text": "text",
    "number": "numbers",
    "time": "timestamps (or ISO 8601 text, or Unix time as integers)",
    "flag": "booleans",
    "vector": "lists of float32",
}
"""What to write into a column of each kind, for messages."""

NOUNS: dict[Kind, str] = {
    "id": "id",
    "text": "text",
    "number": "finite number",
    "time": "time",
    "flag": "true or false",
    "vector": "list of numbers",
}
"""What a bad cell is not, for reasons."""


def _present(raw: pl.Series) -> pl.Series:
    """Empty text is a missing value: CSV can't tell the two apart, so neither does Parquet."""
    if raw.dtype == pl.String and (raw == "").any():
        return raw.to_frame().select(pl.when(pl.first() != "").then(pl.first())).to_series().rename(raw.name)
    return raw


def _to_text(raw: pl.Series) -> pl.Series:
    return raw.cast(pl.String)


def _to_number(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.String:
        raw = raw.str.strip_chars()
    return raw.cast(pl.Float64, strict=False)


def _to_flag(raw: pl.Series) -> pl.Series:
    if raw.dtype != pl.String:
        raw = raw.cast(pl.String)
    lowered = raw.str.strip_chars().str.to_lowercase()
    flags = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
    return lowered.replace_strict(flags, default=None, return_dtype=pl.Boolean)


def _to_vector(raw: pl.Series) -> pl.Series:
    if raw.dtype == pl.String:
        raw = raw.str.strip_chars().str.strip_chars("[]").str.split(",").list.eval(pl.element().str.strip_chars())
    vectors = raw.cast(DTYPES["vector"], strict=False)
    whole = vectors.list.eval(pl.element().is_finite().fill_null(value=False)).list.all()
    return vectors.to_frame("v").select(pl.when(whole & (pl.col("v").list.len() > 0)).then("v")).to_series()


def _to_time(raw: pl.Series) -> pl.Series:
    if raw.dtype.is_integer():
        return unix_time(raw)
    if raw.dtype == pl.String:
        return iso_time(raw)
    return raw.cast(UTC_MICROS)


def unix_time(raw: pl.Series) -> pl.Series:
    """Unix times of any unit as timestamps; see `cast_cells` for how the unit is told."""
    value = pl.first().cast(pl.Int64, strict=False)
    scaled = value // 1000
    for limit, factor in reversed(_MICROS_BELOW):
        scaled = pl.when(value.abs() < limit).then(value * factor).otherwise(scaled)
    return raw.to_frame().select(scaled.cast(UTC_MICROS)).to_series()


def iso_time(raw: pl.Series) -> pl.Series:
    """ISO 8601 texts, or Unix times in digits, as timestamps; null where it is neither."""
    plain = raw.str.to_datetime(_ISO, time_unit="us", strict=False).dt.replace_time_zone("UTC")
    unread = raw.is_not_null() & plain.is_null()
    if unread.any():
        # The plain form is by far the most common; only the rest pays for the general one.
        plain = plain.scatter(unread.arg_true(), _iso_time_with_zone(raw.filter(unread)))
    return plain


def _iso_time_with_zone(raw: pl.Series) -> pl.Series:
    text = pl.col("text")
    frame = raw.str.strip_chars().to_frame("text")
    # A date's last part looks like an offset ("2026-11-21"), so an offset needs a time before it.
    zoned = text.str.contains(":", literal=True)
    local = pl.when(zoned).then(text.str.replace(_OFFSET, "")).otherwise(text).str.replace(r"(?i)T", " ")
    offset = pl.when(zoned).then(_offset_minutes(text)).otherwise(0)
    formats = (_ISO, "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S,%3f")
    moments = [local.str.to_datetime(form, time_unit="us", strict=False) for form in formats]
    days = local.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    moment = pl.coalesce(*moments, days) - pl.duration(minutes=offset)
    digits = frame.select(pl.when(text.str.contains(r"^-?\d{1,19}$")).then(text.cast(pl.Int64, strict=False)))
    iso = frame.select(moment.dt.replace_time_zone("UTC")).to_series()
    return iso.zip_with(digits.to_series().is_null(), unix_time(digits.to_series()))


def _offset_minutes(text: pl.Expr) -> pl.Expr:
    part = [text.str.extract(_OFFSET, group).cast(pl.Int64, strict=False).fill_null(0) for group in (2, 3)]
    minutes = part[0] * 60 + part[1]
    return pl.when(text.str.extract(_OFFSET, 1) == "-").then(-minutes).otherwise(minutes)


_CASTS: dict[Kind, Callable[[pl.Series], pl.Series]] = {
    "id": _to_text,
    "text": _to_text,
    "number": _to_number,
    "time": _to_time,
    "flag": _to_flag,
    "vector": _to_vector,
}
