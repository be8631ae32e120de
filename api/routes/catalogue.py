"""What this service can compute."""

from __future__ import annotations

from fastapi import APIRouter

from api import catalogue
from api.schemas import Biomarkers, Encoders
from foundation.access import chosen

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/biomarkers")
def biomarkers() -> Biomarkers:
    """List the biomarkers with their intended use and limits."""
    return Biomarkers(biomarkers=catalogue.biomarkers())


@router.get("/encoders")
def encoders() -> Encoders:
    """List the encoders that are known by name, with their licences, and whether they can run here."""
    return Encoders(encoders=catalogue.encoders(chosen()))
