"""Write all files of a result: whole, with the notice in each, `report.json` last."""

from __future__ import annotations

from pathlib import Path

from biomarkers.card import Biomarker
from biomarkers.export.geojson import TileLayer, write_geojson
from biomarkers.reading import Reading
from biomarkers.report.evidence import Evidence
from biomarkers.report.page import render
from biomarkers.report.png import png
from biomarkers.result import FILES, staged_result, write_report_json
from biomarkers.score import Score
from slides import SlideInfo
from tiling import TileGrid


def publish(out: Path, score: Score, card: Biomarker, layer: TileLayer, evidence: Evidence) -> None:
    """Write a result.

    Args:
        out: Its folder.
        score: The score.
        card: Its biomarker.
        layer: The tiles, for `tiles.geojson`.
        evidence: The images.
    """
    text = {"Notice": card.notice, "Biomarker": f"{card.name} {card.version}", "Slide": str(score.slide["id"])}
    scale = {"Scale": f"{evidence.scale.label}: {evidence.scale.low:.6g} to {evidence.scale.high:.6g}"}
    whole = evidence.whole
    with staged_result(out) as folder:
        (folder / FILES["thumbnail_png"]).write_bytes(png(whole.image, text))
        (folder / FILES["heatmap_png"]).write_bytes(png(whole.heat, text | scale))
        if whole.classes is not None:
            (folder / FILES["classes_png"]).write_bytes(png(whole.classes, text))
        write_geojson(folder / FILES["tiles_geojson"], layer, card.notice)
        (folder / FILES["report_html"]).write_text(render(score, card, evidence), encoding="utf-8")
        write_report_json(folder, score)


def file_names(evidence: Evidence) -> dict[str, str]:
    """The files that `publish` will write.

    Args:
        evidence: The images.

    Returns:
        What -> file name, relative to the folder of the result.
    """
    return {what: name for what, name in FILES.items() if what != "classes_png" or evidence.whole.classes is not None}


def tile_layer(identity: str, reading: Reading, info: SlideInfo, grid: TileGrid, card: Biomarker) -> TileLayer:
    """The tiles of a result, ready to export.

    Args:
        identity: Fingerprint of the score.
        reading: What the head said about each tile.
        info: The slide.
        grid: The tiles.
        card: The biomarker.

    Returns:
        Tiles with their class, heat value, tissue share and class shares.
    """
    label = f"{reading.heat_label} (demonstration)" if card.demonstration else reading.heat_label
    numbers = {label: reading.heat, "tissue share": grid.tissue}
    if reading.shares is not None:
        numbers |= {f"share of {name}": reading.shares[:, index] for index, name in enumerate(reading.names)}
    return TileLayer(info, grid, identity, numbers, reading.classes)
