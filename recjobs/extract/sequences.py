"""Training sequences as TFRecord files of `tf.train.Example`, written without TensorFlow.

The wire format is put together here: integers of all users are turned into varints at once, and a
user costs a few joins of byte strings. Formats: protobuf's encoding of `Example` (`Features` maps
a name to a `Feature` with one of `bytes_list = 1`, `float_list = 2`, `int64_list = 3`), and TFRecord's framing (length,
masked CRC-32C of it, data, masked CRC-32C of it).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import google_crc32c
import numpy as np
import numpy.typing as npt
import polars as pl

from recjobs import columns as c
from recjobs import storage
from recjobs.extract.histories import Timeline

ITEM, TYPE, TIME, DEVICE = "item", "type", "time", "device"
TEXTS = (c.COUNTRY, c.REGION, c.LANGUAGE, c.AGE_BAND)

_MASK_DELTA = 0xA282EAD8
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 0x0A, 0x12, 0x1A
_WRITE_BYTES = 1 << 22
Integers = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Told:
    """What users' declared columns say, by column, a row per user: texts, numbers, lists of tokens, vectors."""

    texts: Mapping[str, pl.Series] = field(default_factory=dict)
    numbers: Mapping[str, pl.Series] = field(default_factory=dict)
    tokens: Mapping[str, pl.Series] = field(default_factory=dict)
    vectors: Mapping[str, pl.Series] = field(default_factory=dict)

    def features(self) -> list[Iterator[bytes]]:
        """The columns' entries, row by row."""
        return [
            *(_text_features(c.told_field(name), values) for name, values in self.texts.items()),
            *(_float_features(c.told_field(name), values) for name, values in self.numbers.items()),
            *(_list_features(c.told_field(name), values) for name, values in self.tokens.items()),
            *(_vector_features(c.told_field(name), values) for name, values in self.vectors.items()),
        ]


def write_sequences(
    uri: str, users: pl.DataFrame, index: Integers, told: Told, events: Timeline, lengths: Integers
) -> None:
    """An Example per row of `users`, in order: ids, texts, and the user's next `lengths[row]` of `events`.

    Devices are in it only where one is known.
    """
    device = events.device if events.device is not None and events.device.any() else None
    features = [
        _text_features(c.USER, users[c.USER]),
        _number_features(c.USER_INDEX, index, np.ones(len(index), np.int64)),
        _number_features(ITEM, events.item, lengths),
        _number_features(TYPE, events.code, lengths),
        _number_features(TIME, events.seconds, lengths),
        *([] if device is None else [_number_features(DEVICE, device, lengths)]),
        *(_text_features(name, users[name]) for name in TEXTS),
        *told.features(),
    ]
    with storage.writing(uri) as stream:
        pending: list[bytes] = []
        size = 0
        for parts in zip(*features, strict=True):
            record = _framed(_tagged(0x0A, b"".join(parts)))
            pending.append(record)
            size += len(record)
            if size > _WRITE_BYTES:
                stream.write(b"".join(pending))
                pending, size = [], 0
        stream.write(b"".join(pending))


def _framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def _tagged(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _entry(name: str, list_tag: int, content: bytes) -> bytes:
    """One entry of `Features.feature` (key = 1, value = 2): a Feature whose list has `content` as its field 1."""
    feature = _tagged(list_tag, _tagged(0x0A, content))
    return _tagged(0x0A, _tagged(0x0A, name.encode()) + _tagged(0x12, feature))


class _Entries(dict[int, bytes]):
    """What stands before the content of an entry. It depends on the content's length alone."""

    def __init__(self, name: str, list_tag: int) -> None:
        super().__init__()
        self._name = name
        self._list_tag = list_tag

    def __missing__(self, length: int) -> bytes:
        entry = _entry(self._name, self._list_tag, bytes(length))
        self[length] = prefix = entry[: len(entry) - length]
        return prefix


def _text_features(name: str, values: pl.Series) -> Iterator[bytes]:
    """A `bytes_list` of one value per row; a null is an empty one."""
    before = _Entries(name, _BYTES_LIST)
    for value in values.fill_null(""):
        content = value.encode()
        yield before[len(content)] + content


def _number_features(name: str, values: Integers, lengths: Integers) -> Iterator[bytes]:
    """An `int64_list` of the next `lengths[row]` values per row."""
    before = _Entries(name, _INT64_LIST)
    content, ends = varints(values)
    bounds = np.r_[0, ends][np.r_[0, np.cumsum(lengths)]].tolist()
    view = content.tobytes()
    for low, high in pairwise(bounds):
        yield before[high - low] + view[low:high]


def _list_features(name: str, lists: pl.Series) -> Iterator[bytes]:
    """An `int64_list` of each row's list."""
    lengths = lists.list.len().to_numpy().astype(np.int64)
    return _number_features(name, lists.explode().drop_nulls().to_numpy(), lengths)


def _float_features(name: str, values: pl.Series) -> Iterator[bytes]:
    """A `float_list` of one value per row; a null is NaN."""
    entry = _entry(name, _FLOAT_LIST, bytes(4))[:-4]
    content = values.cast(pl.Float32).fill_null(float("nan")).to_numpy().astype("<f4").tobytes()
    for start in range(0, len(content), 4):
        yield entry + content[start : start + 4]


def _vector_features(name: str, lists: pl.Series) -> Iterator[bytes]:
    """A `float_list` of each row's list; of a null an empty one."""
    before = _Entries(name, _FLOAT_LIST)
    lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
    view = lists.explode().drop_nulls().to_numpy().astype("<f4").tobytes()
    for low, high in pairwise((4 * np.r_[0, np.cumsum(lengths)]).tolist()):
        yield before[high - low] + view[low:high]


def varints(values: Integers | Sequence[int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The varints of all `values` (not negative) in a row, and where each one ends."""
    rest = np.asarray(values).astype(np.uint64)
    sizes = np.ones(len(rest), np.int64)
    for width in range(1, 10):
        sizes += rest >= np.uint64(1 << (7 * width))
    ends = np.cumsum(sizes)
    encoded = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    starts = ends - sizes
    for place in range(int(sizes.max()) if len(sizes) else 0):
        has = sizes > place
        low = (rest[has] >> np.uint64(7 * place)) & np.uint64(0x7F)
        more = (sizes[has] > place + 1).astype(np.uint64) << np.uint64(7)
        encoded[starts[has] + place] = (low | more).astype(np.uint8)
    return encoded, ends
