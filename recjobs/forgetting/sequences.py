"""Users in TFRecord files of training sequences: read and written record by record, without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

from recjobs import columns as c
from recjobs import storage
from recjobs.errors import CorruptFileError
from recjobs.forgetting.wire import fields
from recjobs.tombstones import Forgotten

_HEADER = 12
"""Bytes before a record's data: its length, and a checksum of that."""
_FOOTER = 4


def users_in_sequences(uri: str, forgotten: Forgotten) -> int:
    """How many records are of forgotten users."""
    with storage.reading(uri) as stream:
        return sum(forgotten.names(user_of(record, uri)) for record in _records(stream, uri))


def rewrite_sequences(uri: str, target: str, forgotten: Forgotten) -> None:
    """The file at `target` without the records of forgotten users; the others byte for byte."""
    with storage.reading(uri) as stream, storage.writing(target) as out:
        for record in _records(stream, uri):
            if not forgotten.names(user_of(record, uri)):
                out.write(record)


def user_of(record: bytes, uri: str) -> str:
    """The user of a record (framing included) whose data is a `tf.train.Example`."""
    for _, features in fields(record[_HEADER:-_FOOTER], 1):
        for _, entry in fields(features, 1):
            told = dict(fields(entry, 1, 2))
            if told.get(1) == c.USER.encode():
                values = [value for _, content in fields(told[2]) for _, value in fields(content)]
                return values[0].decode() if values else ""
    raise CorruptFileError(f"{uri}: a record without {c.USER}. Delete that run of extract and run it again.", uri=uri)


def _records(stream: IO[bytes], uri: str) -> Iterator[bytes]:
    while header := stream.read(_HEADER):
        length = struct.unpack("<Q", header[:8])[0] if len(header) == _HEADER else 0
        rest = stream.read(length + _FOOTER)
        if len(header) + len(rest) != _HEADER + length + _FOOTER:
            raise CorruptFileError(f"{uri} ends within a record. Delete that run of extract and run it again.", uri=uri)
        yield header + rest
