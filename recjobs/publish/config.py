"""Settings of `publish` and of the database."""

from __future__ import annotations

from pydantic import Field, SecretStr

from recjobs.typed import Section


class DatabaseConfig(Section):
    """The Postgres server that the app reads."""

    url: SecretStr | None = None
    """`postgresql://user:password@host:port/database`; none starts the embedded server."""
    embedded_folder: str = "work/postgres"
    """Where the embedded server keeps its data."""
    embedded_port: int = Field(54329, ge=1024, le=65535)
    """The embedded server's port on 127.0.0.1."""
    embedded_binaries: str | None = None
    """Folder of the PostgreSQL programs that the embedded server runs on (15 or later); none takes the packaged 18."""
    schema_name: str = Field("recs", pattern=r"^[a-z_][a-z0-9_]{0,40}$")
    """The schema that holds everything of ours."""
    connect_timeout: int = Field(10, ge=1)
    """Seconds to wait for a connection."""


class PublishConfig(Section):
    """How generations are loaded and kept."""

    keep_generations: int = Field(7, ge=2)
    """Generations kept; live and its predecessor always are."""
    connections: int = Field(2, ge=1, le=32)
    """Connections that load at the same time."""
    lock_timeout_ms: int = Field(50, ge=1)
    """How long a statement of ours may wait for a lock before it steps back and tries again."""
