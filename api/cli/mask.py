"""`mask`: the tissue of a slide as outlines that people can edit, with a first look at its quality."""

from __future__ import annotations

import argparse
import json
import time

from api import NOTICE
from api.cli.address import slide_address
from api.cli.reply import Reply
from api.errors import BadRequestError
from slides import open_slide
from tiling.artefacts import artefacts
from tiling.mask_geojson import mask_to_geojson
from tiling.quality import slide_quality
from tiling.tissue import TissueSpec, overview, segment_overview
from tiling.whole import write_whole


def mask(arguments: argparse.Namespace) -> Reply:
    """Write the tissue mask of a slide.

    Args:
        arguments: `slide`, `mpp0`, `out`, `stain`, `frame`.

    Returns:
        The reply.

    Raises:
        BadRequestError: If a file stands there already: it may have been edited.
    """
    if arguments.out.exists():
        raise BadRequestError("a file stands there already and may have been edited; give another name")
    begin = time.perf_counter()
    spec = TissueSpec(stain=arguments.stain)
    with open_slide(slide_address(arguments)) as slide:
        info, seen = slide.info, overview(slide, spec)
    found = segment_overview(seen, info.require_mpp(), spec)
    quality = slide_quality(found, artefacts(seen.image, found, seen.mpp), info.require_mpp())
    document = mask_to_geojson(found, info, arguments.frame)
    write_whole(arguments.out, json.dumps({**document, "notice": NOTICE}, allow_nan=False).encode())
    reply = {
        "slide": info.pseudonym,
        "mask": str(arguments.out),
        "pieces": len(document["features"]),
        "shape": list(found.array.shape),
        "frame": arguments.frame,
        "quality": {name: round(value, 4) for name, value in quality.items()},
        "seconds": round(time.perf_counter() - begin, 3),
    }
    shares = ", ".join(f"{name} {share:.1%}" for name, share in quality.items() if name != "tissue_mm2")
    text = f"{quality['tissue_mm2']:.2f} mm2 of tissue in {reply['pieces']} pieces; under artefacts: {shares}"
    return Reply(reply, f"{text}\n{arguments.out}\n{NOTICE}")
