"""Files and folders by URI: a folder on disk, or `gs://bucket/prefix`. The one module that knows the difference.

Everything else passes URIs as strings. A URI without a scheme is a path on this machine.
Nothing is written in place: a file appears whole under its final name or not at all, and
`create_once` never replaces.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recjobs.errors import MissingInputError, StorageUnavailableError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket

GCS_SCHEME = "gs://"
_DIGEST_BLOCK = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """One file: its URI, its name below the folder that was listed, its size in bytes."""

    uri: str
    name: str
    size: int


def join(uri: str, *parts: str) -> str:
    """`uri` with `parts` below it, one slash between."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part)])


def is_remote(uri: str) -> bool:
    """Whether `uri` is in a bucket."""
    return uri.startswith(GCS_SCHEME)


@cache
def _client() -> Any:
    from google.cloud import storage

    return storage.Client()


@contextlib.contextmanager
def _remote_errors(uri: str) -> Iterator[None]:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except exceptions.NotFound as error:
        raise MissingInputError(
            f"{uri}: not found. Check the bucket's name and that the path exists.", uri=uri
        ) from error
    except exceptions.Forbidden as error:
        raise MissingInputError(
            f"{uri}: this service account may not use it. Grant it Storage Object User on the bucket.",
            uri=uri,
        ) from error
    except GoogleAuthError as error:
        raise MissingInputError(
            f"{uri}: no Google credentials. Set GOOGLE_APPLICATION_CREDENTIALS or run on a "
            "machine with a service account.",
            uri=uri,
        ) from error
    except (exceptions.ServerError, exceptions.RetryError, ConnectionError) as error:
        raise StorageUnavailableError(f"{uri}: the bucket does not answer ({error}).", uri=uri) from error


def _bucket(uri: str) -> tuple[Bucket, str]:
    name, _, key = uri.removeprefix(GCS_SCHEME).partition("/")
    return _client().bucket(name), key


def _blob(uri: str) -> Blob:
    bucket, key = _bucket(uri)
    return bucket.blob(key)


@contextlib.contextmanager
def reading(uri: str) -> Iterator[IO[bytes]]:
    """`uri` opened for reading bytes.

    Raises:
        MissingInputError: nothing is stored there.
    """
    if is_remote(uri):
        with _remote_errors(uri), _blob(uri).open("rb") as stream:
            yield stream
        return
    try:
        stream = open(uri, "rb")
    except FileNotFoundError as error:
        raise MissingInputError(f"{uri}: no such file.", uri=uri) from error
    with stream:
        yield stream


@contextlib.contextmanager
def writing(uri: str) -> Iterator[IO[bytes]]:
    """A stream whose bytes appear at `uri`, whole, when the block ends without an error.

    An older file of that name is replaced in one step.
    """
    if is_remote(uri):
        with tempfile.TemporaryFile() as spool:
            yield spool
            spool.seek(0)
            with _remote_errors(uri):
                _blob(uri).upload_from_file(spool)
        return
    target = Path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_bytes(uri: str) -> bytes:
    """All bytes at `uri`."""
    with reading(uri) as stream:
        return stream.read()


def write_bytes(uri: str, content: bytes) -> None:
    """`content` at `uri`, replacing an older file in one step."""
    with writing(uri) as stream:
        stream.write(content)


def create_once(uri: str, content: bytes) -> bool:
    """Writes `content` at `uri` only if nothing is there yet. True for the one caller that won."""
    if is_remote(uri):
        from google.api_core.exceptions import PreconditionFailed

        with _remote_errors(uri):
            try:
                _blob(uri).upload_from_string(content, if_generation_match=0)
            except PreconditionFailed:
                return False
        return True
    target = Path(uri)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # A hard link fails if the name exists: complete and exclusive in one step.
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        Path(temporary).unlink(missing_ok=True)
    return True


def exists(uri: str) -> bool:
    """Whether a file is stored at `uri`."""
    if is_remote(uri):
        with _remote_errors(uri):
            return bool(_blob(uri).exists())
    return Path(uri).is_file()


def list_files(uri: str) -> list[StoredFile]:
    """Every file below the folder `uri`, at any depth, by name. A folder that is not there is empty.

    Names that start with a dot or an underscore are passed over (half-written files, `_SUCCESS`).
    """
    found = _list_remote(uri) if is_remote(uri) else _list_local(uri)
    return sorted(
        (file for file in found if not any(part[:1] in "._" for part in file.name.split("/"))),
        key=lambda file: file.name,
    )


def _list_remote(uri: str) -> list[StoredFile]:
    bucket, key = _bucket(uri)
    prefix = f"{key.rstrip('/')}/" if key else ""
    with _remote_errors(uri):
        blobs = list(bucket.list_blobs(prefix=prefix))
    return [
        StoredFile(f"{GCS_SCHEME}{bucket.name}/{blob.name}", blob.name.removeprefix(prefix), blob.size or 0)
        for blob in blobs
        if not blob.name.endswith("/")
    ]


def _list_local(uri: str) -> list[StoredFile]:
    top = Path(uri)
    return [
        StoredFile(str(path), path.relative_to(top).as_posix(), path.stat().st_size)
        for path in top.rglob("*")
        if path.is_file()
    ]


def list_folders(uri: str) -> list[str]:
    """The names directly below the folder `uri` that are folders themselves, sorted."""
    if is_remote(uri):
        return sorted({file.name.split("/")[0] for file in list_files(uri) if "/" in file.name})
    top = Path(uri)
    if not top.is_dir():
        return []
    return sorted(path.name for path in top.iterdir() if path.is_dir() and path.name[0] not in "._")


def digest(uri: str) -> str:
    """A digest of the content at `uri`: equal content gives an equal digest, a change a new one."""
    if is_remote(uri):
        with _remote_errors(uri):
            blob = _blob(uri)
            blob.reload()
            return f"crc32c:{blob.crc32c}:{blob.size}"
    accumulator = hashlib.blake2b(digest_size=16)
    with reading(uri) as stream:
        while block := stream.read(_DIGEST_BLOCK):
            accumulator.update(block)
    return f"blake2b:{accumulator.hexdigest()}"


def delete_file(uri: str) -> None:
    """Removes the file at `uri`; none there is no fault."""
    if is_remote(uri):
        with contextlib.suppress(MissingInputError), _remote_errors(uri):
            _blob(uri).delete()
        return
    Path(uri).unlink(missing_ok=True)


def delete_folder(uri: str) -> int:
    """Removes the folder `uri` and all below it. Returns how many files went; 0 if it was not there."""
    if is_remote(uri):
        bucket, key = _bucket(uri)
        with _remote_errors(uri):
            blobs = list(bucket.list_blobs(prefix=f"{key.rstrip('/')}/"))
            for blob in blobs:
                blob.delete()
        return len(blobs)
    count = len(_list_local(uri))
    shutil.rmtree(uri, ignore_errors=True)
    return count


@contextlib.contextmanager
def local_folder(uri: str) -> Iterator[Path]:
    """A path on this machine with the content of the folder `uri`, for libraries that need one.

    The folder itself when it is on this machine, else a copy that is removed afterwards. Read-only
    by agreement.

    Raises:
        MissingInputError: the folder is not there or empty.
    """
    files = list_files(uri)
    if not files:
        raise MissingInputError(f"{uri}: no such folder, or it is empty.", uri=uri)
    if not is_remote(uri):
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        for file in files:
            target = Path(scratch) / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _remote_errors(file.uri):
                _blob(file.uri).download_to_filename(str(target))
        yield Path(scratch)


@contextlib.contextmanager
def writing_folder(uri: str) -> Iterator[Path]:
    """A path on this machine whose files stand at the folder `uri` when the block ends without an error."""
    if not is_remote(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        yield Path(scratch)
        for path in sorted(Path(scratch).rglob("*")):
            if path.is_file():
                target = join(uri, path.relative_to(scratch).as_posix())
                with _remote_errors(target):
                    _blob(target).upload_from_filename(str(path))
