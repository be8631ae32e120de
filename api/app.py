"""The HTTP application: small, and free of torch. All work on slides is done by worker processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI

from api import NOTICE, VERSION
from api.middleware import Guard
from api.network import is_loopback
from api.problems import MEDIA_TYPE, add_problem_handlers
from api.routes import catalogue, health, jobs, results, slides
from api.service import Service
from api.settings import Settings

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
PROBLEM: Final[dict[str, Any]] = {
    "description": "A problem document (RFC 9457).",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application; its data folder and database are opened, and made where missing.

    Args:
        settings: Where things are and what is allowed; None reads the environment.

    Returns:
        The application, for any ASGI server. It needs a worker beside it: `oncoscope worker`, or use `oncoscope serve`.
    """
    service = Service.start(settings or Settings())
    app = FastAPI(
        title="oncoscope",
        version=VERSION,
        description=f"Whole-slide pathology biomarkers: {NOTICE}.",
        lifespan=_lifespan,
        docs_url=None,  # the usual pages load scripts from other sites
        redoc_url=None,
    )
    app.state.service = service
    for module in (health, slides, jobs, results, catalogue):
        app.include_router(module.router, responses={422: PROBLEM, "default": PROBLEM})
    add_problem_handlers(app)
    names = LOOPBACK.union(service.settings.hosts) if is_loopback(service.settings.host) else None
    app.add_middleware(Guard, hosts=names)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Sweep what an earlier server left, close what this one opened."""
    service: Service = app.state.service
    lock = service.folder.sweep()
    try:
        yield
    finally:
        service.database.close()
        if lock is not None:
            lock.close()
