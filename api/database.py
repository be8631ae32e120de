"""The job database: tables, connection rules, and one clock that all processes share.

SQLite by default (WAL, so that readers never wait for the writer). The statements are written for PostgreSQL too, which
an address chooses, but no test has run them there yet.
Times are seconds since 1970 UTC by the clock of the database, so that workers whose clocks differ agree on a lease.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from api.errors import DatabaseError

BUSY_SECONDS: Final = 10.0
"""How long a statement waits for another process to finish writing before it gives up."""
NO_ANSWER: Final = "the job database does not answer; try again in a moment"
PLAUSIBLE_NOW: Final = 1.6e9
"""September 2020: a database clock before that, or none at all, would make leases that never end."""

metadata = MetaData()

slides = Table(
    "slides",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("name", String(20), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("info", JSON, nullable=False),
    Column("created", Float, nullable=False),
)
"""Uploads. `name` is the server's own file name in the slide's folder; the sender's is never known."""

jobs = Table(
    "jobs",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("request", JSON, nullable=False),
    Column("state", String(20), nullable=False),
    Column("due", Float, nullable=False),
    Column("token", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("finished", Float),
    Column("result", String(80)),
    Column("summary", JSON),
    Column("problem", JSON),
    Column("progress", JSON),
    Column("idempotency_key", String(200), unique=True),
    Column("request_digest", String(64), nullable=False),
    Index("jobs_claim", "state", "due"),
)
"""Jobs. `due`: when a worker may take the job: at once while queued, when the lease ends while running."""


class _Now(FunctionElement[float]):
    """Spelled differently by each database, see below."""

    type = Float()
    inherit_cache = True


def now() -> ColumnElement[float]:
    """The clock of the database, for use inside of statements.

    Returns:
        Seconds since 1970 UTC, with fractions.
    """
    return _Now()


@compiles(_Now, "sqlite")
def _sqlite_now(_element: _Now, _compiler: SQLCompiler, **_options: object) -> str:
    """`unixepoch('subsec')` is NULL before SQLite 3.42: a lease made of it would never end, without an error."""
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Now, "postgresql")
def _postgresql_now(_element: _Now, _compiler: SQLCompiler, **_options: object) -> str:
    """The time of the statement, not of the transaction's start."""
    return "extract(epoch from clock_timestamp())"


class Database:
    """A connection pool with the two kinds of transaction that the service uses.

    Args:
        address: SQLAlchemy address.

    A database that cannot be opened or does not answer is a `DatabaseError`, here and in every method.
    """

    def __init__(self, address: str) -> None:
        """Connect, make missing tables and check the clock.

        Raises:
            DatabaseError: If the clock is not usable.
        """
        self.engine: Engine = _engine(address)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        with self.write() as connection:
            metadata.create_all(connection)
            _add_columns(connection)
            moment = connection.scalar(select(now()))
        if not isinstance(moment, float) or moment < PLAUSIBLE_NOW:
            msg = "the clock of the job database is not usable"
            raise DatabaseError(msg)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Yields:
            The connection.

        Raises:
            DatabaseError: If the database does not answer.
        """
        try:
            with self.engine.connect().execution_options(oncoscope_read=True) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise DatabaseError(NO_ANSWER) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; committed when the block ends without an error.

        Yields:
            The connection.

        Raises:
            IntegrityError: If a value that may stand once is there already.
            DatabaseError: If the database does not answer.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except IntegrityError:  # an answer, not a failure
            raise
        except SQLAlchemyError as error:
            raise DatabaseError(NO_ANSWER) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(address: str) -> Engine:
    """An engine that has not connected yet.

    Raises:
        DatabaseError: If the address cannot be understood, or its driver is not installed.
    """
    try:
        return create_engine(address)
    except ImportError as error:
        msg = f"the job database needs the Python package {error.name or 'of its driver'}, which is not installed"
        raise DatabaseError(f"{msg}; install it beside oncoscope, or leave ONCOSCOPE_DATABASE_URL unset") from error
    except SQLAlchemyError:  # its text may hold a password
        msg = "the address of the job database is not one that can be used; see ONCOSCOPE_DATABASE_URL"
        raise DatabaseError(msg) from None


def _add_columns(connection: Connection) -> None:
    """What the table of an earlier version lacks; such columns may be empty."""
    if "progress" not in {column["name"] for column in inspect(connection).get_columns("jobs")}:
        connection.execute(text("ALTER TABLE jobs ADD COLUMN progress JSON"))


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Settings that SQLite keeps per connection. FULL: a commit survives a power cut."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_SECONDS * 1000:.0f}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock first: a transaction that reads and then writes could otherwise be refused in its middle."""
    reads = connection.get_execution_options().get("oncoscope_read", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


__all__ = ["Database", "jobs", "now", "slides"]
