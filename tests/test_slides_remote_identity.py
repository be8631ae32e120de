"""What opening a remote slide costs, and what its identity is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from slides import open_slide
from tools.range_server import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("bucket-and-files")
    (root / "slides").mkdir()
    with serving(root) as served:
        yield served


@pytest.fixture(scope="module")
def large(server: Server) -> Path:
    """A slide of 15 MB, larger than the blocks that its header takes."""
    path = server.root / "slides" / "large.tiff"
    noise = np.random.default_rng(0).integers(0, 255, (2560, 2048, 3), np.uint8)
    written: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        for factor in (1, 4):
            tiff.write(noise[::factor, ::factor], **written, resolution=(20_000, 20_000), resolutionunit="CENTIMETER")
    return path


def test_opening_costs_a_small_part_of_the_file(server: Server, large: Path) -> None:
    before = server.sent
    with open_slide(f"{server.url}/slides/large.tiff") as slide:
        assert 0 < server.sent - before < large.stat().st_size / 10
        assert slide.info.reader == "tiff"


def test_the_identity_of_a_remote_slide_is_of_the_object_and_not_of_its_address(
    server: Server, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "not a secret", "AWS_REGION": "eu-central-1"}
    for name, value in {**secrets, "AWS_ENDPOINT_URL": server.url, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false")

    def identity(url: str) -> str:
        with open_slide(url) as slide:
            return slide.info.content_hash

    url = f"{server.url}/slides/large.tiff"
    found = identity(url)
    assert found == identity(url) == identity("s3://slides/large.tiff")
    assert found != identity(str(large))
    with tifffile.TiffFile(large) as tiff:
        offset = tiff.pages[0].dataoffsets[100]
    with large.open("r+b") as file:  # a tile that no sample holds: the store's own mark tells
        file.seek(offset + 50)
        file.write(b"another")
    assert found != identity(url)


def test_opening_a_zarr_image_costs_a_small_part_of_it(server: Server) -> None:
    path = server.root / "slides" / "many chunks.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=3)
    noise = np.random.default_rng(0).integers(150, 255, (1600, 1600, 3), np.uint8)
    for number, factor in enumerate((1, 8)):
        level = noise[::factor, ::factor]
        root.create_array(str(number), shape=level.shape, chunks=(64, 64, 3), dtype="u1")[:] = level
    axes: list[Any] = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"] + [{"name": "c"}]
    scales = [{"type": "scale", "scale": [0.5 * factor, 0.5 * factor, 1]} for factor in (1, 8)]
    datasets = [{"path": str(i), "coordinateTransformations": [scale]} for i, scale in enumerate(scales)]
    about: Any = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    root.attrs["ome"] = about
    before = server.sent
    with open_slide(f"{server.url}/slides/many%20chunks.zarr") as slide:
        assert 0 < server.sent - before < noise.nbytes / 10
        assert not slide.info.warnings
