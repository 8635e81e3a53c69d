"""Files and folders by URI: a folder on disk, or `gs://bucket/prefix`. The one module that knows the difference.

Everything else passes URIs as strings. A URI without a scheme is a path on this machine.
Nothing is written in place: a file appears whole under its final name or not at all, and
`create_once` never replaces.

What a bucket refuses is a `MissingInputError`; what it may grant later (it does not answer, is
overloaded, a transfer was damaged) is tried for `PATIENCE_SECONDS`, then a
`StorageUnavailableError`, which can be tried again. A test or a private store is reached by the
Google library's own `STORAGE_EMULATOR_HOST`, without credentials.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from recjobs.errors import MissingInputError, SettingsError, StorageUnavailableError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Bucket

GCS_SCHEME = "gs://"
PATIENCE_SECONDS = 90.0
"""For how long a call to a bucket that fails for the moment is repeated."""
_LONGEST_PAUSE = 10.0
# To connect, and between two packets of an answer.
_TIMEOUT = (10, 60)
# The connections that the client's session keeps are ten.
_TRANSFERS = 8
_CREATOR = "recjobs-creator"
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

    # No project: it matters for making buckets alone, and credentials of a person often have none.
    return storage.Client(project=None)


# Connections can't be shared with a forked child; threads share them safely.
os.register_at_fork(after_in_child=_client.cache_clear)


def _patiently() -> dict[str, Any]:
    from google.cloud.storage.retry import DEFAULT_RETRY

    return {"timeout": _TIMEOUT, "retry": DEFAULT_RETRY.with_timeout(PATIENCE_SECONDS).with_delay(0.5, _LONGEST_PAUSE)}


@contextlib.contextmanager
def _remote_errors(uri: str) -> Iterator[None]:
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption
    from requests import RequestException

    try:
        yield
    except exceptions.NotFound as error:
        raise MissingInputError(
            f"{uri}: not found. Check the bucket's name and that the path exists.", uri=uri
        ) from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise MissingInputError(
            f"{uri}: this service account may not use it. Grant it Storage Object User on the bucket.",
            uri=uri,
        ) from error
    except (
        exceptions.ServerError,
        exceptions.RetryError,
        DataCorruption,
        TransportError,
        RequestException,
    ) as error:
        raise StorageUnavailableError(f"{uri}: the bucket does not answer ({error}).", uri=uri) from error
    except GoogleAuthError as error:
        raise MissingInputError(
            f"{uri}: no Google credentials. Set GOOGLE_APPLICATION_CREDENTIALS or run on a "
            f"machine with a service account ({error}).",
            uri=uri,
        ) from error
    except exceptions.ClientError as error:
        raise MissingInputError(
            f"{uri}: the bucket refuses ({error}). Check the bucket's name and its retention and access rules.", uri=uri
        ) from error


def _bucket(uri: str) -> tuple[Bucket, str]:
    name, _, key = uri.removeprefix(GCS_SCHEME).partition("/")
    if not name:
        raise MissingInputError(f"{uri!r} names no bucket. Write gs://bucket/prefix.", uri=uri)
    return _client().bucket(name), key


def _blob(uri: str) -> Blob:
    bucket, key = _bucket(uri)
    return bucket.blob(key)


def _listing(uri: str, **options: Any) -> Any:
    bucket, key = _bucket(uri)
    return bucket.list_blobs(prefix=_below(key), **options, **_patiently())


def _below(key: str) -> str:
    return f"{key.rstrip('/')}/" if key else ""


def _at_once(function: Callable[[Any], object], elements: Iterable[Any]) -> None:
    with ThreadPoolExecutor(_TRANSFERS) as pool:
        for _ in pool.map(function, elements):
            pass


@contextlib.contextmanager
def reading(uri: str) -> Iterator[IO[bytes]]:
    """`uri` opened for reading bytes, at its start and seekable.

    A file in a bucket is fetched whole first, and its checksum compared: what is read is one
    version of it, complete.

    Raises:
        MissingInputError: nothing is stored there.
    """
    if is_remote(uri):
        with tempfile.TemporaryFile() as spool:
            with _remote_errors(uri):
                _blob(uri).download_to_file(spool, **_patiently())
            spool.seek(0)
            yield spool
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
            size = spool.seek(0, os.SEEK_END)
            with _remote_errors(uri):
                _blob(uri).upload_from_file(spool, rewind=True, size=size, **_patiently())
        return
    temporary = _beside(Path(uri))
    try:
        with temporary.open("xb") as stream:
            yield stream
        os.replace(temporary, uri)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _beside(target: Path) -> Path:
    """A new name in the folder of `target`, which is made; the file gets the rights that this user's files have."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(f"{target.parent}: a file is where a folder has to be. Name another folder.") from error
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}")


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
        with _remote_errors(uri):
            return _create_remote(uri, content)
    temporary = _beside(Path(uri))
    try:
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # A hard link fails if the name exists: complete and exclusive in one step.
        os.link(temporary, uri)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _create_remote(uri: str, content: bytes) -> bool:
    from google.api_core.exceptions import PreconditionFailed

    blob = _blob(uri)
    creator = uuid.uuid4().hex
    blob.metadata = {_CREATOR: creator}
    try:
        blob.upload_from_string(content, "application/octet-stream", if_generation_match=0, **_patiently())
    except PreconditionFailed:
        # Perhaps by ourselves: the answer to a first try was lost, and the second one is refused.
        stored = blob.bucket.get_blob(blob.name, **_patiently())
        return stored is not None and (stored.metadata or {}).get(_CREATOR) == creator
    return True


def replace_if(uri: str, expected: bytes, content: bytes) -> bool:
    """Puts `content` in place of `expected` at `uri`, in one step. False when something else, or nothing, stands there.

    Of several callers who expect the same, one wins.
    """
    if is_remote(uri):
        with _remote_errors(uri):
            return _replace_remote(uri, expected, content)
    with _locked(Path(uri).parent):
        if not exists(uri) or read_bytes(uri) != expected:
            return False
        write_bytes(uri, content)
        return True


def _replace_remote(uri: str, expected: bytes, content: bytes) -> bool:
    from google.api_core.exceptions import PreconditionFailed

    bucket, key = _bucket(uri)
    blob = bucket.get_blob(key, **_patiently())
    if blob is None:
        return False
    try:
        if blob.download_as_bytes(if_generation_match=blob.generation, **_patiently()) != expected:
            return False
        blob.upload_from_string(
            content, "application/octet-stream", if_generation_match=blob.generation, **_patiently()
        )
    except PreconditionFailed:
        # Perhaps by ourselves, in a first try whose answer was lost.
        return read_bytes(uri) == content
    return True


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder's own lock; the kernel lets go of it when this process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def holding(uri: str) -> Iterator[None]:
    """Marks the folder `uri`, which is made, as being written to by this process; ends with it, however it ends.

    In a bucket nothing can be marked.
    """
    if is_remote(uri):
        yield
        return
    Path(uri).mkdir(parents=True, exist_ok=True)
    with _locked(Path(uri)):
        yield


def is_held(uri: str) -> bool:
    """Whether some process is within `holding(uri)`. Of a bucket's folder nobody can tell: it is never held."""
    if is_remote(uri) or not Path(uri).is_dir():
        return False
    descriptor = os.open(uri, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def copy_file(source: str, target: str) -> None:
    """The content of `source` under a second name in the same root, without moving its bytes where that can be.

    Raises:
        MissingInputError: nothing is stored at `source`.
    """
    if is_remote(source):
        with _remote_errors(source):
            bucket, key = _bucket(source)
            bucket.copy_blob(bucket.blob(key), bucket, _bucket(target)[1], **_patiently())
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        # Files are never written in place, so two names of one stay equal.
        os.link(source, target)
    except FileNotFoundError as error:
        raise MissingInputError(f"{source}: no such file.", uri=source) from error
    except OSError:
        shutil.copy2(source, target)


def exists(uri: str) -> bool:
    """Whether a file is stored at `uri`."""
    if is_remote(uri):
        with _remote_errors(uri):
            return bool(_blob(uri).exists(**_patiently()))
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
    with _remote_errors(uri):
        bucket, key = _bucket(uri)
        blobs = [
            blob
            for blob in _listing(uri, fields="items(name,size),nextPageToken")
            if not blob.name.endswith("/")  # a console's placeholder for a folder
        ]
    return [
        StoredFile(f"{GCS_SCHEME}{bucket.name}/{blob.name}", blob.name.removeprefix(_below(key)), blob.size or 0)
        for blob in blobs
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
        return sorted(name for name in _folders_remote(uri) if name[0] not in "._")
    top = Path(uri)
    if not top.is_dir():
        return []
    return sorted(path.name for path in top.iterdir() if path.is_dir() and path.name[0] not in "._")


def _folders_remote(uri: str) -> list[str]:
    with _remote_errors(uri):
        # The prefixes are known once every page has been fetched.
        listing = _listing(uri, delimiter="/", fields="prefixes,nextPageToken")
        for _ in listing.pages:
            pass
        return [prefix.rstrip("/").rpartition("/")[2] for prefix in listing.prefixes]


def digest(uri: str) -> str:
    """A digest of the content at `uri`: equal content gives an equal digest, a change a new one."""
    if is_remote(uri):
        with _remote_errors(uri):
            blob = _blob(uri)
            blob.reload(**_patiently())
            return f"crc32c:{blob.crc32c}:{blob.size}"
    accumulator = hashlib.blake2b(digest_size=16)
    with reading(uri) as stream:
        while block := stream.read(_DIGEST_BLOCK):
            accumulator.update(block)
    return f"blake2b:{accumulator.hexdigest()}"


def delete_file(uri: str) -> None:
    """Removes the file at `uri`; none there is no fault."""
    if is_remote(uri):
        from google.api_core.exceptions import NotFound

        with _remote_errors(uri), contextlib.suppress(NotFound):
            _blob(uri).delete(**_patiently())
        return
    Path(uri).unlink(missing_ok=True)


def delete_folder(uri: str) -> int:
    """Removes the folder `uri` and all below it. Returns how many files went; 0 if it was not there."""
    if is_remote(uri):
        with _remote_errors(uri):
            bucket, _ = _bucket(uri)
            names = [blob.name for blob in _listing(uri, fields="items(name),nextPageToken")]
        _at_once(delete_file, [f"{GCS_SCHEME}{bucket.name}/{name}" for name in names])
        return len(names)
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
        _at_once(lambda file: _fetch(file, Path(scratch)), files)
        yield Path(scratch)


def _fetch(file: StoredFile, into: Path) -> None:
    target = into / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with _remote_errors(file.uri):
        _blob(file.uri).download_to_filename(str(target), **_patiently())


@contextlib.contextmanager
def writing_folder(uri: str) -> Iterator[Path]:
    """A path on this machine whose files stand at the folder `uri` when the block ends without an error."""
    if not is_remote(uri):
        Path(uri).mkdir(parents=True, exist_ok=True)
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="recjobs-") as scratch:
        yield Path(scratch)
        paths = sorted(path for path in Path(scratch).rglob("*") if path.is_file())
        _at_once(lambda path: _send(path, join(uri, path.relative_to(scratch).as_posix())), paths)


def _send(path: Path, uri: str) -> None:
    with _remote_errors(uri):
        _blob(uri).upload_from_filename(str(path), **_patiently())
