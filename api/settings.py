"""Everything an operator can set, and the only place that reads the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of the service and the command line; `ONCOSCOPE_` + the field's name in capitals sets one."""

    model_config = SettingsConfigDict(env_prefix="ONCOSCOPE_", frozen=True, extra="ignore")

    data_dir: Path = Path("oncoscope-data")
    """Folder of uploads, results and the default database; made on first use, readable by its owner alone."""
    data: Path = Path("../shared/data")
    """Folder of research data that experiments name by `root = "ONCOSCOPE_DATA"`."""
    database_url: str | None = None
    """SQLAlchemy address of the job database; None is a SQLite file in the data folder.

    PostgreSQL is written for but not tested, and its driver (psycopg) is not installed with oncoscope."""
    host: str = "127.0.0.1"
    """Loopback: the service has no access control yet, so nobody else may reach it unless the operator says so."""
    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Names, with commas between them, under which a proxy may call, beside those of this machine.

    A page of another site has none of them."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 takes any free port."""
    max_upload_bytes: PositiveInt = 64 << 30
    """64 GiB: larger than any single-file slide seen, small enough to stop a stream without end."""
    inspect_seconds: PositiveFloat = 60.0
    """A good slide opens in under a second; one that takes a minute is a trap for the reader."""
    inspect_memory_bytes: PositiveInt = 4 << 30
    """Address space of the process that looks at an upload; a bad file may claim any size."""
    lease_seconds: PositiveFloat = 15.0
    """How long a job stays with a worker that says nothing; then another worker takes it."""
    poll_seconds: PositiveFloat = 0.5
    """How often an idle worker looks for a job; one short query."""
    max_attempts: PositiveInt = 3
    """A job that took three workers down with it is given up: it is the slide, not chance."""
    weights: Path | None = None
    """Folder of weights that users have themselves, `<folder>/<key>/<file>`; see `oncoscope doctor`."""
    online: bool = False
    """Whether weights may be fetched from the Hugging Face hub; nothing else ever uses the network by itself."""
    policy: Literal["research", "commercial"] = "research"
    """`commercial` refuses encoders whose licence is not known to allow commercial use."""
    cache_dir: Path | None = None
    """Where the demonstration slide is kept; None is the user's cache folder."""
    xdg_cache_home: Annotated[Path | None, Field(validation_alias="XDG_CACHE_HOME")] = None
    """The desktop standard's cache folder, used where `cache_dir` is not set."""

    @field_validator("hosts", mode="before")
    @classmethod
    def _separate(cls, hosts: object) -> object:
        """The environment has no lists."""
        return tuple(filter(None, map(str.strip, hosts.split(",")))) if isinstance(hosts, str) else hosts

    @property
    def heartbeat_seconds(self) -> float:
        """A third of the lease: two heartbeats may be lost before the job is."""
        return self.lease_seconds / 3

    @property
    def database(self) -> str:
        """The database address that is really used."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'oncoscope.db').absolute()}"

    @property
    def cache(self) -> Path:
        """The cache folder that is really used."""
        return self.cache_dir or (self.xdg_cache_home or Path.home() / ".cache") / "oncoscope"
