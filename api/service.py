"""What the routes of one application share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from api.access import allow
from api.database import Database
from api.folder import DataFolder
from api.jobs import JobStore
from api.settings import Settings
from api.uploads import SlideStore


@dataclass(frozen=True, slots=True)
class Service:
    """The open data folder and database of one process, server or worker."""

    settings: Settings
    folder: DataFolder
    database: Database
    jobs: JobStore
    slides: SlideStore

    @classmethod
    def start(cls, settings: Settings) -> Service:
        """Open everything, making what is missing, and tell this process what it may do with encoders.

        Args:
            settings: Where things are.

        Returns:
            The service; close its database when done.
        """
        allow(settings)
        folder = DataFolder.make(settings.data_dir)
        database = Database(settings.database)
        jobs = JobStore(database, settings.lease_seconds, settings.max_attempts)
        return cls(settings, folder, database, jobs, SlideStore(database, folder, settings))


def _service(request: Request) -> Service:
    """The service of the application that this request reached."""
    return cast("Service", request.app.state.service)


ServiceOf = Annotated[Service, Depends(_service)]
"""Type of a route's parameter that receives the service."""
