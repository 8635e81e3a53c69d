"""Protobuf's encoding, as far as it has to be read, and the checksum of TFRecord files and TensorFlow's tables."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c

_MASK_DELTA = 0xA282EAD8
_FIXED = {1: 8, 5: 4}


def varint(message: bytes | bytearray, place: int) -> tuple[int, int]:
    """The number at `place`, and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7


def fields(message: bytes, *numbers: int) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that hold bytes, with their numbers: those of `numbers`, or all."""
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, place = varint(message, place)
        elif wire in _FIXED:
            place += _FIXED[wire]
        else:
            length, place = varint(message, place)
            if not numbers or number in numbers:
                yield number, message[place : place + length]
            place += length


def masked_crc(content: bytes) -> bytes:
    """CRC-32C, rotated and shifted as TensorFlow does, as four bytes."""
    crc = google_crc32c.value(content)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)
