"""Users' rows in the towers: an embedding has one for every user with an index, the checkpoint its moments as well.

The row becomes zeros. Everything else that a model learnt from a user is spread over all weights and goes with the
next training. TensorFlow is not needed, nor imported: it keeps variables in a data file, one after the other as they
are in memory, and an index file (LevelDB's table format, not compressed) that says for each where it stands, its
shape and its checksum. So a row's bytes are overwritten in a copy, and the checksums with them.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recjobs import storage
from recjobs.errors import CorruptFileError
from recjobs.forgetting.wire import fields, masked_crc, varint

USER_EMBEDDING = "user_embedding"
"""The name of the variable in `recjobs/retrieve/train/user_tower.py`, and of its moments in the optimizer."""
_INDEX, _DATA = ".index", ".data-00000-of-00001"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_FOOTER = 48
_TRAILER = 5
"""After a block: its compression, and a checksum."""
_MAGIC = 0xDB4775248B80FB57
_SIZES = {1: 4, 2: 8}
"""Bytes of a number by TensorFlow's type: float and double."""
_SHAPE, _OFFSET, _SIZE, _CHECKSUM = 2, 4, 5, 6


@dataclass(frozen=True)
class _Tensor:
    """An entry of the index."""

    kind: int
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum_at: int
    """Where the entry's checksum stands in the index file; 0 for none."""
    block: tuple[int, int]
    """The block of the index file that the entry is in."""

    def place_of(self, row: int) -> slice:
        """The bytes of one row in the data file."""
        width = self.size // self.shape[0]
        return slice(self.offset + row * width, self.offset + (row + 1) * width)


def bundles(names: Collection[str]) -> list[str]:
    """What TensorFlow keeps variables in, among these file names: an index and its data under one name."""
    found = [name.removesuffix(_INDEX) for name in names if name.endswith(_INDEX)]
    return [name for name in found if f"{name}{_DATA}" in names]


def files_of(bundle: str) -> tuple[str, str]:
    """The names of a bundle's files."""
    return f"{bundle}{_INDEX}", f"{bundle}{_DATA}"


def rows_in_bundle(uri: str, rows: Sequence[int]) -> int:
    """How many of `rows` of the users' embedding and its moments hold anything.

    Raises:
        CorruptFileError: the files are not as TensorFlow writes them.
    """
    index, data = (storage.read_bytes(f"{uri}{suffix}") for suffix in (_INDEX, _DATA))
    tensors = _user_tensors(_entries(index, uri), data, uri)
    return sum(any(data[one.place_of(row)]) for one in tensors for row in rows if row < one.shape[0])


def rewrite_bundle(uri: str, target: str, rows: Sequence[int]) -> None:
    """The bundle at `target` with `rows` of the users' embedding and its moments zero, everything else as it is."""
    index, data = (bytearray(storage.read_bytes(f"{uri}{suffix}")) for suffix in (_INDEX, _DATA))
    for tensor in _user_tensors(_entries(bytes(index), uri), data, uri):
        for row in rows:
            if row < tensor.shape[0]:
                place = tensor.place_of(row)
                data[place] = bytes(place.stop - place.start)
        if tensor.checksum_at:
            numbers = bytes(memoryview(data)[tensor.offset : tensor.offset + tensor.size])
            index[tensor.checksum_at : tensor.checksum_at + 4] = masked_crc(numbers)
        low, high = tensor.block
        index[high + 1 : high + _TRAILER] = masked_crc(bytes(index[low : high + 1]))
    for suffix, content in ((_DATA, data), (_INDEX, index)):
        with storage.writing(f"{target}{suffix}") as out:
            out.write(content)


def _user_tensors(entries: Mapping[str, _Tensor], data: bytes | bytearray, uri: str) -> list[_Tensor]:
    """The users' embedding and its moments: by the variables' names, which the bundle keeps beside its keys."""
    if _GRAPH not in entries:
        return []
    names = _names(_text(entries[_GRAPH], data, uri))
    wanted = [key for key in entries if USER_EMBEDDING in f"{names.get(key, '')}/{key}"]
    return [entries[key] for key in wanted if len(entries[key].shape) == 2 and entries[key].kind in _SIZES]


def _text(entry: _Tensor, data: bytes | bytearray, uri: str) -> bytes:
    """The one string of a tensor of strings: its length, a checksum of that, then the bytes."""
    length, place = varint(data, entry.offset)
    if place + 4 + length != entry.offset + entry.size:
        raise _unreadable(uri)
    return bytes(data[place + 4 : place + 4 + length])


def _names(graph: bytes) -> dict[str, str]:
    """A variable's name by its key, out of a `TrackableObjectGraph`: nodes (1), their attributes (2), of which the
    full name (2) and the key (3)."""
    names = {}
    for _, node in fields(graph, 1):
        for _, attribute in fields(node, 2):
            told = dict(fields(attribute, 2, 3))
            names[told.get(3, b"").decode()] = told.get(2, b"").decode()
    return names


# -- the index: a table of sorted keys


def _entries(index: bytes, uri: str) -> dict[str, _Tensor]:
    if len(index) < _FOOTER or struct.unpack("<Q", index[-8:])[0] != _MAGIC:
        raise _unreadable(uri)
    _, place = _handle(index, len(index) - _FOOTER)
    block, _ = _handle(index, place)
    found = {}
    for _, low, _ in _block(index, block, uri):
        part, _ = _handle(index, low)
        for key, start, end in _block(index, part, uri):
            if key:
                found[key.decode()] = _tensor(index, start, end, part)
    return found


def _handle(index: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Where a block begins and ends, and the place after its handle."""
    offset, place = varint(index, place)
    size, place = varint(index, place)
    return (offset, offset + size), place


def _block(index: bytes, block: tuple[int, int], uri: str) -> Iterator[tuple[bytes, int, int]]:
    """Each key of a block with where its value begins and ends. Keys repeat the beginning of the one before."""
    low, high = block
    if index[high] != 0 or masked_crc(index[low : high + 1]) != index[high + 1 : high + _TRAILER]:
        raise _unreadable(uri)
    restarts = struct.unpack("<I", index[high - 4 : high])[0]
    key, place = b"", low
    while place < high - 4 * (restarts + 1):
        shared, place = varint(index, place)
        more, place = varint(index, place)
        size, place = varint(index, place)
        key = key[:shared] + index[place : place + more]
        place += more
        yield key, place, place + size
        place += size


def _tensor(index: bytes, start: int, end: int, block: tuple[int, int]) -> _Tensor:
    """A `BundleEntryProto`: type (1), shape (2), offset (4), size (5), checksum (6, four bytes)."""
    numbers, shape, checksum_at, place = dict.fromkeys((1, _OFFSET, _SIZE), 0), b"", 0, start
    while place < end:
        tag, place = varint(index, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            numbers[number], place = varint(index, place)
        elif wire == 2:
            length, place = varint(index, place)
            shape = index[place : place + length] if number == _SHAPE else shape
            place += length
        else:
            checksum_at = place if number == _CHECKSUM else checksum_at
            place += 4 if wire == 5 else 8
    return _Tensor(numbers[1], _dimensions(shape), numbers[_OFFSET], numbers[_SIZE], checksum_at, block)


def _dimensions(shape: bytes) -> tuple[int, ...]:
    """A `TensorShapeProto`: dimensions (2), each with a size (1)."""
    return tuple(varint(one, 1)[0] if one[:1] == b"\x08" else 0 for _, one in fields(shape, 2))


def _unreadable(uri: str) -> CorruptFileError:
    return CorruptFileError(
        f"{uri}: not as TensorFlow writes variables, so a user's row can't be taken out. Delete that run of "
        "retrieve/train, and forget again.",
        uri=uri,
    )
