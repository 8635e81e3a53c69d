"""A TCP proxy between a loader and the server that knows each message, and breaks things at a chosen one."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from psycopg2 import extensions
from pydantic import SecretStr

from recjobs.publish.config import DatabaseConfig
from recjobs.publish.connection import database_url

# What the statements of a run's main connection begin, in this order; copying has connections of its own.
_BEGINNINGS = (
    ("register", r"pg_advisory_xact_lock"),
    ("create", r"create table"),
    ("key", r"primary key|create (unique )?index|analyze"),
    ("attach", r"attach partition"),
    ("promote", r"pg_advisory_xact_lock"),
    ("prune", r"pg_advisory_xact_lock"),
)
PHASES = ("register", "create", "copy", "key", "attach", "promote", "prune")


class CutError(Exception):
    """Raised by a hook: the connection is cut before this message, or inside it after `sent` bytes."""

    def __init__(self, sent: int = 0, *, reset: bool = True) -> None:
        super().__init__("cut")
        self.sent = sent
        self.reset = reset


@dataclass
class Link:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    backend: int = 0
    """The process id of the server's backend, from its own greeting."""
    main: bool = False

    def cut(self, *, reset: bool = True) -> None:
        """Ends both sides: with a reset, as by a router that forgot the connection, or as by a server that closes."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                if not reset:
                    end.shutdown(socket.SHUT_RDWR)
                    continue
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                end.close()


@dataclass(frozen=True)
class Message:
    """One message of the loader, and where in its run it comes."""

    phase: str
    number: int
    """Counts the phase's messages from 0."""
    kind: str
    body: bytes


Hook = Callable[[Link, Message], "Callable[[], None] | None"]
"""Called before a message is sent on; what it returns is called right after."""


@dataclass
class Proxy:
    """Listens on a port of its own and passes everything on to the server of `database`."""

    database: DatabaseConfig
    hook: Hook
    links: list[Link] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    _phase: str = "connect"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.target = extensions.parse_dsn(database_url(self.database))
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def config(self) -> DatabaseConfig:
        """The database as a loader behind this proxy is told it; without TLS, so that messages can be read."""
        url = re.sub(r"@[^/]+/", f"@127.0.0.1:{self.listener.getsockname()[1]}/", database_url(self.database))
        return self.database.model_copy(update={"url": SecretStr(f"{url}?sslmode=disable&gssencmode=disable")})

    def close(self) -> None:
        """Cuts what is still open."""
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self.links:
            link.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection((self.target["host"], int(self.target["port"])))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = Link(client, server, main=not self.links)
                self.links.append(link)
                threading.Thread(target=self._forward, args=(link,), daemon=True).start()
                threading.Thread(target=self._back, args=(link,), daemon=True).start()

    def _forward(self, link: Link) -> None:
        try:
            link.server.sendall(_startup(link.client))
            while True:
                kind, body = _message(link.client)
                raw = kind.encode() + struct.pack("!i", len(body) + 4) + body
                try:
                    then = self.hook(link, self._placed(link, kind, body))
                except CutError as cut:
                    link.server.sendall(raw[: cut.sent])
                    link.cut(reset=cut.reset)
                    return
                link.server.sendall(raw)
                if then is not None:
                    then()
        except OSError:
            pass
        finally:
            link.cut()

    def _back(self, link: Link) -> None:
        try:
            while True:
                kind, body = _message(link.server)
                if kind == "K":
                    link.backend = struct.unpack("!i", body[:4])[0]
                link.client.sendall(kind.encode() + struct.pack("!i", len(body) + 4) + body)
        except OSError:
            link.cut()

    def _placed(self, link: Link, kind: str, body: bytes) -> Message:
        with self._lock:
            phase = self._advanced(body.decode(errors="replace")) if link.main else "copy"
            number = self.counts.get(phase, 0)
            self.counts[phase] = number + 1
        return Message(phase, number, kind, body)

    def _advanced(self, statement: str) -> str:
        names = ["connect", *(name for name, _ in _BEGINNINGS)]
        for name, beginning in _BEGINNINGS[names.index(self._phase) :][:1]:
            if re.search(beginning, statement, re.IGNORECASE):
                self._phase = name
        return self._phase


@contextlib.contextmanager
def proxied(database: DatabaseConfig, hook: Hook = lambda _link, _message: None) -> Iterator[Proxy]:
    """A proxy before `database` for the block."""
    proxy = Proxy(database, hook)
    try:
        yield proxy
    finally:
        proxy.close()


def _startup(client: socket.socket) -> bytes:
    length = _exactly(client, 4)
    return length + _exactly(client, struct.unpack("!i", length)[0] - 4)


def _message(end: socket.socket) -> tuple[str, bytes]:
    header = _exactly(end, 5)
    return header[:1].decode("latin-1"), _exactly(end, struct.unpack("!i", header[1:])[0] - 4)


def _exactly(end: socket.socket, size: int) -> bytes:
    pieces = []
    while size:
        piece = end.recv(min(size, 1 << 16))
        if not piece:
            raise OSError("closed")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
