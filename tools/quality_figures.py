"""How well tissue, artefacts and blur are found: the figures of docs/decisions/0014-tissue-and-quality.md.

    python tools/quality_figures.py DATA [SLIDE.svs ...]

DATA holds `slides` and `patches` as `tests/conftest.py` expects them. Further slides are taken for clean and, where a
`.truth.npz` of the same stem lies beside them, for masks with a known truth. Artefacts are drawn over clean slides by
Beer-Lambert: what a drawn artefact shows may be easier than what a real one does.
"""

from __future__ import annotations

import argparse
import time
import timeit
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from slides import Address, Region, Size, Slide, open_slide
from tiling import TileSpec, plan
from tiling.artefacts import ARTEFACTS, QualityMap, artefacts
from tiling.quality import measure_tiles, out_of_focus
from tiling.segmenter import absorbances, glass_of
from tiling.tissue import Overview, TissueMask, TissueSpec, overview, segment_overview

Image = NDArray[np.uint8]
CLEAN = (("section_he_23040x12672.tiff", 0.46), ("aperio_cmu1_small.svs", None), ("aperio_tcga_j2k_no_mpp.svs", 0.5))
INKS = {"blue": (40, 60, 170), "green": (30, 130, 70), "black": (35, 35, 40), "red": (200, 30, 50)}
PATCH_MPP = 0.25


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("slides", type=Path, nargs="*")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    tile = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), np.uint8)
    seconds = (
        min(timeit.repeat(lambda: measure_tiles(tile), timer=time.process_time, number=5, repeat=9)) / 5 / len(tile)
    )
    print(f"measure_tiles: {seconds * 1e6:.1f} us for a tile of 224 px, one thread, processor time")
    focus(arguments.data / "patches")
    for path in arguments.slides:
        tissue(path)
    named = [(arguments.data / "slides" / name, mpp0) for name, mpp0 in CLEAN]
    for path, mpp0 in [*named, *((path, None) for path in arguments.slides)]:
        drawn(path, mpp0)
        real_tiles(path, mpp0)


def focus(folder: Path, each: int = 80) -> None:
    """Out-of-focus by scale and blur: thresholds come from one half of the patches, shares from the other."""
    rng = np.random.default_rng(7)
    kinds = [rng.choice(np.array(sorted(kind.glob("*.jpg"))), each, replace=False) for kind in sorted(folder.iterdir())]
    halves = [[load(path) for kind in kinds for path in kind[half::2]] for half in (0, 1)]
    print(f"out of focus, {len(halves[1])} patches: share called so, by blur (Gaussian sigma in um)")
    for mpp in (0.25, 0.5, 1.0):
        percentile = np.quantile(sharp(halves[0], 0.0, mpp), 0.01)
        shares = [
            f"{sigma:g}: {out_of_focus(sharp(halves[1], sigma, mpp), mpp).mean():.3f}"
            for sigma in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
        ]
        print(f"  {mpp} um/px  {'  '.join(shares)}  (first percentile of the other half {percentile:.3f})")


def load(path: Path) -> Image:
    """A patch."""
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def sharp(images: list[Image], sigma_um: float, mpp: float) -> NDArray[np.float32]:
    """The sharpness of each patch, blurred."""
    return np.array([measure_tiles(blurred(image, sigma_um, mpp)[None])[0, 0] for image in images])


def blurred(image: Image, sigma_um: float, mpp: float) -> Image:
    """A patch out of focus, at a scale, through JPEG again as a scanner would write it."""
    soft = cv2.GaussianBlur(image, (0, 0), sigma_um / PATCH_MPP) if sigma_um else image
    small = cv2.resize(soft, None, fx=PATCH_MPP / mpp, fy=PATCH_MPP / mpp, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], 1), np.uint8)


def tissue(path: Path) -> None:
    """Seconds and IoU against the truth of a made slide."""
    truth_file = path.with_suffix(".truth.npz")
    if not truth_file.exists():
        return
    classes = np.load(truth_file)["classes"] > 0
    with open_slide(path) as slide:
        mpp0, size = slide.info.require_mpp(), slide.info.size
        print(f"tissue of {size.width} x {size.height} px, reading included:")
        for name, spec in (("default", TissueSpec()), ("pixels alone", PIXELS), ("pixels alone, 4 um/px", FINE)):
            seconds = []
            for _ in range(3):
                begin = time.perf_counter()
                found = segment_overview(overview(slide, spec), mpp0, spec)
                seconds.append(time.perf_counter() - begin)
            print(f"  {name}: {min(seconds):.2f} s, IoU {overlap(found.array, classes):.4f}")
        counterstained(slide, classes)
    prior(path, classes)


HAEMATOXYLIN, EOSIN = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11)
"""Absorbance of red, green and blue, of length 1 (Ruifrok and Johnston 2001)."""


def counterstained(slide: Slide, classes: NDArray[np.bool_]) -> None:
    """The same slide without eosin and with half and a quarter of its haematoxylin, as a pale IHC counterstain."""
    seen, mpp0 = overview(slide), slide.info.require_mpp()
    mixed = absorbances(seen.image, glass_of(seen.image)).reshape(-1, 3)
    amount = np.maximum(mixed @ np.linalg.pinv(np.array([HAEMATOXYLIN, EOSIN]))[:, 0], 0)[:, None]
    for strength in (0.5, 0.25):
        light = 242 * np.exp(-strength * amount * np.array(HAEMATOXYLIN))
        image = np.asarray(np.rint(light), np.uint8).reshape(seen.image.shape)
        rows = []
        for stain in ("he", "ihc", "any"):
            found = segment_overview(Overview(image, seen.scale, seen.mpp), mpp0, TissueSpec(stain=stain))
            rows.append(f"{stain} {overlap(found.array, classes):.4f}")
        print(f"  haematoxylin alone, {strength:g} of it: IoU {', '.join(rows)}")


def overlap(found: NDArray[np.bool_], classes: NDArray[np.bool_]) -> float:
    """Intersection over union of a mask and the truth."""
    truth = cv2.resize(classes.astype(np.uint8), found.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return float(np.count_nonzero(found & truth) / np.count_nonzero(found | truth))


def prior(path: Path, classes: NDArray[np.bool_]) -> None:
    """What the compressed sizes of level-0 tiles alone say of tissue."""
    begin = time.perf_counter()
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        shape = (-(-page.imagelength // page.tilelength), -(-page.imagewidth // page.tilewidth))
        counts = np.log(np.array(page.databytecounts, np.float64).reshape(shape))
    scaled = np.asarray(np.interp(counts, [np.min(counts), np.max(counts)], [0, 255]), np.uint8)
    found = cv2.threshold(scaled, 0, 1, cv2.THRESH_OTSU)[1]
    seconds = time.perf_counter() - begin
    fine = cv2.resize(found, classes.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    missed = np.count_nonzero(classes & ~fine) / np.count_nonzero(classes)
    print(
        f"  compressed tile sizes alone (Otsu): {seconds:.2f} s, IoU {overlap(fine, classes):.4f}, missed {missed:.4f}"
    )


PIXELS = TissueSpec(thin_um=0, close_um=0, smallest_mm2=0, hole_mm2=0)
FINE = TissueSpec(mpp=4, thin_um=0, close_um=0, smallest_mm2=0, hole_mm2=0)


def drawn(path: Path, mpp0: float | None) -> None:
    """Share of each drawn artefact that is found, and of clean tissue that is called one."""
    with open_slide(Address.of(path, mpp0)) as slide:
        seen, scale = overview(slide), slide.info.require_mpp()
        mask = segment_overview(seen, scale)
    inside = np.count_nonzero(mask.array)
    clean = artefacts(seen.image, mask, seen.mpp)
    called = [np.count_nonzero(on_mask(clean, name, mask) & mask.array) / inside for name in ARTEFACTS]
    alarms = ", ".join(f"{name} {share:.4f}" for name, share in zip(ARTEFACTS, called, strict=True))
    print(f"{seen.image.shape[1]} x {seen.image.shape[0]} at {seen.mpp:.1f} um/px; called on the clean slide: {alarms}")
    for name, image, where in spoilt(seen, mask):
        again = segment_overview(Overview(image, seen.scale, seen.mpp), scale)
        layer = on_mask(artefacts(image, again, seen.mpp), name.split()[0], mask)
        hit = np.count_nonzero(layer & where) / max(1, int(np.count_nonzero(where)))
        wrong = np.count_nonzero(layer & ~where & mask.array) / inside
        print(f"  {name:14s} found {hit:.3f} of it, called on tissue beside it {wrong:.4f}")


def on_mask(quality: QualityMap, name: str, mask: TissueMask) -> NDArray[np.bool_]:
    """A layer on the pixels of a mask."""
    layer = quality.layer(name).array.astype(np.uint8)
    return np.asarray(cv2.resize(layer, mask.array.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0, np.bool_)


def real_tiles(path: Path, mpp0: float | None) -> None:
    """Share of a real slide's tissue tiles that are called out of focus, as scanned and blurred."""
    rng = np.random.default_rng(0)
    with open_slide(Address.of(path, mpp0)) as slide:
        grid = plan(
            slide.info, [TileSpec(mpp=0.5, min_tissue=0.5)], segment_overview(overview(slide), slide.info.require_mpp())
        )[0]
        picked = rng.permutation(len(grid))[:400]
        sides = [round(side) for side in grid.extent]
        tiles = np.stack([slide.read_to(Region(*grid.coords[n].tolist(), *sides), Size(224, 224)) for n in picked])
    shares = []
    for sigma_um in (0.0, 1.0, 2.0):
        soft = np.stack([cv2.GaussianBlur(tile, (0, 0), sigma_um / 0.5) for tile in tiles]) if sigma_um else tiles
        shares.append(f"{sigma_um:g}: {out_of_focus(measure_tiles(soft)[:, 0], 0.5).mean():.3f}")
    print(f"  {len(tiles)} tiles at 0.5 um/px called out of focus, by added blur in um: {'  '.join(shares)}")


def spoilt(seen: Overview, mask: TissueMask) -> Iterator[tuple[str, Image, NDArray[np.bool_]]]:
    """Name, image and place of each drawn artefact."""
    places = np.argwhere(cv2.erode(mask.array.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
    for name, colour in INKS.items():
        where = strokes(seen, places, width_um=400)
        light = np.where(where[..., None], np.array(colour) / 255, 1.0)
        yield f"pen {name}", dimmed(seen.image, light), where
    for width in (60, 120):
        where = strokes(seen, places, width_um=width) & mask.array
        light = np.where(where[..., None], np.minimum(seen.image / 242.0, 1.0), 1.0)
        yield f"fold {width} um", dimmed(seen.image, light), where
    where, rim = bubbles(seen, places)
    soft = cv2.GaussianBlur(seen.image, (0, 0), 16 / seen.mpp)
    inside = np.where((where & ~rim)[..., None], soft, seen.image)
    yield "bubble", dimmed(np.asarray(inside, np.uint8), np.where(rim[..., None], 0.3, 1.0)), where
    for sigma in (8, 16, 32):
        soft = cv2.GaussianBlur(seen.image, (0, 0), sigma / seen.mpp)
        disc = bubbles(seen, places)[0]
        yield f"blur {sigma} um", np.asarray(np.where(disc[..., None], soft, seen.image), np.uint8), disc & mask.array


def dimmed(image: Image, light: NDArray[np.float64]) -> Image:
    """An image behind a filter; edges are softened as an objective does."""
    return np.asarray(np.clip(image * cv2.GaussianBlur(light, (0, 0), 0.7).reshape(*light.shape), 0, 255), np.uint8)


def strokes(seen: Overview, places: NDArray[np.int64], width_um: float, count: int = 4) -> NDArray[np.bool_]:
    """Curved strokes of 2 mm through tissue."""
    rng = np.random.default_rng(3)
    canvas = np.zeros(seen.image.shape[:2], np.uint8)
    for row, column in places[rng.integers(0, len(places), count)]:
        angle, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-1, 1)
        along = np.linspace(-1000, 1000, 50) / seen.mpp
        x = column + along * np.cos(angle) - bend * along**2 / 1500 * seen.mpp * np.sin(angle)
        y = row + along * np.sin(angle) + bend * along**2 / 1500 * seen.mpp * np.cos(angle)
        points = np.stack([x, y], axis=1).round().astype(np.int32)
        cv2.polylines(canvas, [points], isClosed=False, color=1, thickness=max(1, round(width_um / seen.mpp)))
    return canvas > 0


def bubbles(seen: Overview, places: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Discs of 0.3 to 0.9 mm radius over tissue, and their rims of 48 um."""
    rng = np.random.default_rng(5)
    disc, rim = np.zeros(seen.image.shape[:2], np.uint8), np.zeros(seen.image.shape[:2], np.uint8)
    for row, column in places[rng.integers(0, len(places), 4)]:
        place, radius = (int(column), int(row)), round(rng.uniform(300, 900) / seen.mpp)
        cv2.circle(disc, place, radius, 1, -1)
        cv2.circle(rim, place, radius, 1, max(1, round(48 / seen.mpp)))
    return (disc | rim) > 0, rim > 0


if __name__ == "__main__":
    main()
