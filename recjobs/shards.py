"""Which shard a user is in: the same in every stage, on every machine, in every version."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def shard_of(users: pa.Array | pa.ChunkedArray, shards: int) -> npt.NDArray[np.int32]:
    """The shard of each user id, int32[len(users)] in [0, shards).

    CRC-32 of the UTF-8 id, modulo `shards`; hashed once per distinct id.
    """
    if isinstance(users, pa.ChunkedArray):
        users = users.combine_chunks()
    if not pa.types.is_dictionary(users.type):
        users = users.dictionary_encode()
    distinct = users.dictionary.to_pylist()
    hashed = np.fromiter((zlib.crc32(user.encode()) % shards for user in distinct), np.int32, len(distinct))
    indices: npt.NDArray[np.int32] = users.indices.to_numpy(zero_copy_only=False)
    return hashed[indices]
