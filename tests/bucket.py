"""A bucket on this machine: the part of Cloud Storage's JSON API that `recjobs.storage` uses, over real HTTP.

In memory, one request a thread. Google's own client talks to it when `STORAGE_EMULATOR_HOST` names it. Faults can be
planted: a status that the next requests get, answers that are lost after the work was done, downloads that break off.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import google_crc32c

Headers = dict[str, str]


class RefusedError(Exception):
    """An answer with an error's status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class StoredObject:
    """An object and the version it is."""

    content: bytes
    metadata: dict[str, str]
    generation: int

    @property
    def crc32c(self) -> str:
        """As the API writes it."""
        return base64.b64encode(google_crc32c.Checksum(self.content).digest()).decode()

    def described(self, bucket: str, name: str) -> dict[str, Any]:
        """The API's resource."""
        return {
            "bucket": bucket,
            "name": name,
            "size": str(len(self.content)),
            "generation": str(self.generation),
            "metadata": self.metadata,
            "crc32c": self.crc32c,
        }


@dataclass
class Store:
    """Buckets by name and the objects in them, with the requests seen and the faults planted."""

    buckets: dict[str, dict[str, StoredObject]]
    page: int = 1000
    requests: list[str] = field(default_factory=list)
    refused: list[tuple[str, int]] = field(default_factory=list)
    lost_answers: int = 0
    damaged: bool = False
    broken_off: int = 0
    uploads: dict[str, Upload] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def refuse(self, status: int, times: int = 1000, where: str = "") -> None:
        """The next `times` requests whose `METHOD path` contains `where` get `status`."""
        self.refused += [(where, status)] * times

    def objects(self, bucket: str) -> dict[str, StoredObject]:
        """The objects of that bucket."""
        if bucket not in self.buckets:
            raise RefusedError(404, "The specified bucket does not exist.")
        return self.buckets[bucket]

    def find(self, bucket: str, name: str) -> StoredObject:
        """That object."""
        if name not in self.objects(bucket):
            raise RefusedError(404, f"No such object: {bucket}/{name}")
        return self.buckets[bucket][name]

    def insert(self, upload: Upload) -> dict[str, Any]:
        """The object becomes visible, whole, unless its precondition or checksum fails."""
        with self.lock:
            self.check(upload)
            made = StoredObject(bytes(upload.content), upload.about.get("metadata", {}), next(self.numbers))
            if upload.about.get("crc32c", made.crc32c) != made.crc32c:
                raise RefusedError(400, "Provided CRC32C doesn't match calculated CRC32C.")
            self.objects(upload.bucket)[upload.name] = made
        return made.described(upload.bucket, upload.name)

    def check(self, upload: Upload) -> None:
        """Whether the version is the one that the upload wants to replace (0: none)."""
        there = self.objects(upload.bucket).get(upload.name)
        if upload.generation is not None and upload.generation != (there.generation if there else 0):
            raise RefusedError(412, "At least one of the pre-conditions you specified did not hold.")

    def listing(self, bucket: str, query: Headers) -> dict[str, Any]:
        """One page of names with the prefix, those beyond the delimiter folded into prefixes."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        objects = self.objects(bucket)
        entries = sorted({_folded(name, prefix, delimiter) for name in objects if name.startswith(prefix)})
        left = [(name, folder) for name, folder in entries if name > query.get("pageToken", "")]
        page = left[: self.page]
        found: dict[str, Any] = {
            "items": [objects[name].described(bucket, name) for name, folder in page if not folder],
            "prefixes": [name for name, folder in page if folder],
        }
        return found | ({"nextPageToken": page[-1][0]} if len(left) > len(page) else {})


@dataclass
class Upload:
    """An upload on its way."""

    bucket: str
    name: str
    about: dict[str, Any]
    generation: int | None
    content: bytearray = field(default_factory=bytearray)


def _folded(name: str, prefix: str, delimiter: str) -> tuple[str, bool]:
    head, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
    return (prefix + head + found, True) if found else (name, False)


class Handler(BaseHTTPRequestHandler):
    """Reads requests, finds what does them, writes answers."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    store: Store

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def handle_request(self) -> None:
        """One request."""
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._note(f"{self.command} {unquote(url.path)}")
            status, headers, content = self._work(url.path, dict(parse_qsl(url.query)), body)
        except RefusedError as refusal:
            error = {"error": {"code": refusal.status, "message": str(refusal)}}
            status, headers, content = refusal.status, {}, json.dumps(error).encode()
        self._answer(status, headers, content)

    do_GET = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815

    def _note(self, request: str) -> None:
        # The client asks for the bucket beside its work, for its own telemetry, at any moment.
        if re.fullmatch(r"GET /storage/v1/b/[^/]+", request):
            return
        with self.store.lock:
            self.store.requests.append(request)
            for fault in self.store.refused:
                if fault[0] in request:
                    self.store.refused.remove(fault)
                    raise RefusedError(fault[1], "planted")

    def _work(self, path: str, query: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        routes: list[tuple[str, str, Callable[..., tuple[int, Headers, bytes]]]] = [
            ("POST", r"/upload/storage/v1/b/([^/]+)/o", self._start_upload),
            ("PUT", r"/upload/storage/v1/b/([^/]+)/o", self._go_on),
            ("GET", r"/download/storage/v1/b/([^/]+)/o/([^/]+)", self._download),
            ("GET", r"/storage/v1/b/([^/]+)", self._describe_bucket),
            ("GET", r"/storage/v1/b/([^/]+)/o", lambda b, q, _: _json(self.store.listing(b, q))),
            (
                "GET",
                r"/storage/v1/b/([^/]+)/o/([^/]+)",
                lambda b, n, *_: _json(self.store.find(b, n).described(b, n)),
            ),
            ("POST", r"/storage/v1/b/([^/]+)/o/([^/]+)/copyTo/b/([^/]+)/o/([^/]+)", self._copy),
            ("DELETE", r"/storage/v1/b/([^/]+)/o/([^/]+)", self._delete),
        ]
        for method, pattern, work in routes:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                return work(*map(unquote, found.groups()), query, body)
        raise RefusedError(501, f"{self.command} {path} is not offered here")

    def _describe_bucket(self, bucket: str, *_: object) -> tuple[int, Headers, bytes]:
        self.store.objects(bucket)
        return _json({"name": bucket, "location": "EUROPE-WEST1"})

    def _start_upload(self, bucket: str, query: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        multipart = query["uploadType"] == "multipart"
        about, content = self._parts(body) if multipart else (json.loads(body), b"")
        wanted = query.get("ifGenerationMatch")
        generation = None if wanted is None else int(wanted)
        upload = Upload(bucket, query.get("name") or about["name"], about, generation, bytearray(content))
        if multipart:
            return _json(self.store.insert(upload))
        self.store.check(upload)
        session = f"session-{next(self.store.numbers)}"
        self.store.uploads[session] = upload
        host = self.headers["Host"]
        return 200, {"Location": f"http://{host}/upload/storage/v1/b/{bucket}/o?upload_id={session}"}, b""

    def _go_on(self, _: str, query: Headers, body: bytes) -> tuple[int, Headers, bytes]:
        upload = self.store.uploads[query["upload_id"]]
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers.get("Content-Range", "bytes */*"))
        assert span is not None
        if span[1] is not None:
            upload.content[int(span[1]) :] = body
        if span[2] != "*" and len(upload.content) == int(span[2]):
            return _json(self.store.insert(upload))
        return 308, {"Range": f"bytes=0-{len(upload.content) - 1}"} if upload.content else {}, b""

    def _parts(self, body: bytes) -> tuple[dict[str, Any], bytes]:
        message = Message()
        message["Content-Type"] = self.headers["Content-Type"]
        edge = b"--" + str(message.get_param("boundary")).encode()
        about, content = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in body.split(edge)[1:3])
        return json.loads(about), content

    def _download(self, bucket: str, name: str, query: Headers, _: bytes) -> tuple[int, Headers, bytes]:
        stored = self.store.find(bucket, name)
        if query.get("generation", str(stored.generation)) != str(stored.generation):
            raise RefusedError(404, f"No such version: {bucket}/{name}")
        content = stored.content[:-1] + b"?" if self.store.damaged else stored.content
        headers = {"X-Goog-Hash": f"crc32c={stored.crc32c}", "X-Goog-Generation": str(stored.generation)}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            return 200, headers, content
        first, last = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
        if first > last:
            raise RefusedError(416, "Requested range not satisfiable")
        return 206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]

    def _copy(self, bucket: str, name: str, into: str, target: str, *_: object) -> tuple[int, Headers, bytes]:
        with self.store.lock:
            stored = self.store.find(bucket, name)
            made = StoredObject(stored.content, stored.metadata, next(self.store.numbers))
            self.store.objects(into)[target] = made
        return _json(made.described(into, target))

    def _delete(self, bucket: str, name: str, *_: object) -> tuple[int, Headers, bytes]:
        with self.store.lock:
            self.store.find(bucket, name)
            del self.store.buckets[bucket][name]
        return 204, {}, b""

    def _answer(self, status: int, headers: Headers, content: bytes) -> None:
        if status < 300 and self.command != "GET" and self.store.lost_answers > 0:
            self.store.lost_answers -= 1
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.store.broken_off > 0 and "/download/" in self.path:
            self.store.broken_off -= 1
            self.close_connection = True
            content = content[: len(content) // 2]
        self.wfile.write(content)


def _json(content: dict[str, Any]) -> tuple[int, Headers, bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def serve(*buckets: str) -> Iterator[tuple[str, Store]]:
    """Empty buckets of these names, at the URL that is given; they are gone when the block ends."""
    store = Store({name: {} for name in buckets})
    server = _Server(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"store": store}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", store
    finally:
        server.shutdown()
        server.server_close()
