"""Whether the service is alive."""

from __future__ import annotations

from fastapi import APIRouter

from api import VERSION
from api.schemas import Health
from api.service import ServiceOf

router = APIRouter(tags=["service"])


@router.get("/health")
def health(service: ServiceOf) -> Health:
    """Say that the service answers and its database works, and how much work waits."""
    return Health(version=VERSION, jobs=service.jobs.counts())
