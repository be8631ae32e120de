"""Slides read over HTTP and from S3 by range requests, from a small server on this machine's loopback."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from slides import (
    Address,
    NotASlideError,
    Region,
    Size,
    SlideError,
    SlideNotFoundError,
    UnsafeSlideError,
    guard,
    open_slide,
)
from slides.jail.spec import Jail
from slides.remote import BLOCK, RemoteObject
from slides.synthetic_zarr import write_ome_zarr
from slides.testing import SlideConformance, draw, write_slide
from tools.hostile_claims import CLAIMS
from tools.range_server import Server, serving

CLAIMED = [
    name
    for name in CLAIMS
    if name.startswith(("tiff", "bigtiff", "jpeg size", "zarr")) and name not in {"tiff deflate bomb", "tiff fan-out"}
]
"""What is refused before any decoder; those two are, by the readers."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a folder with a slide of 3 MB and a Zarr image."""
    root = tmp_path_factory.mktemp("bucket-and-files")
    (root / "slides").mkdir()
    write_slide(root / "slides" / "a made slide.svs", size=(2600, 2000), seed=12)
    with serving(root) as served:
        yield served


@pytest.fixture
def s3(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same server as an S3 endpoint, its bucket being the folder; credentials come from the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "not a secret",
        "AWS_REGION": "eu-central-1",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
    }.items():
        monkeypatch.setenv(name, value)
    return "s3://slides"


class TestRemote(SlideConformance):
    @pytest.fixture
    @classmethod
    def address(cls, server: Server) -> Address:
        return Address.of(f"{server.url}/slides/a%20made%20slide.svs")


def test_an_address_stays_as_it_is() -> None:
    for url in ("s3://bucket/key.svs", "https://host/a/b.svs", "http://127.0.0.1:1/x.tiff"):
        address = Address.of(url, 0.5)
        assert (address.location, address.is_remote) == (url, True)
    assert not Address.of("slide.svs").is_remote
    assert Path(Address.of("slide.svs").location).is_absolute()


def test_remote_pixels_are_those_of_the_file(server: Server, s3: str) -> None:
    path = server.root / "slides" / "a made slide.svs"
    with open_slide(path) as here:
        expected = here.read(Region(300, 200, 700, 600), 1.0)
        for url in (f"{server.url}/slides/a%20made%20slide.svs", f"{s3}/a%20made%20slide.svs"):
            with open_slide(url) as there:
                assert replace(there.info, content_hash=here.info.content_hash) == here.info
                assert np.array_equal(there.read(Region(300, 200, 700, 600), 1.0), expected)
    assert server.signed[-1]  # by S3's own scheme


def test_a_region_costs_its_tiles_and_not_the_file(server: Server) -> None:
    with open_slide(f"{server.url}/slides/a%20made%20slide.svs") as slide:
        before = server.sent
        slide.read(Region(960, 960, 480, 480))
        cost = server.sent - before
    assert 0 < cost < (server.root / "slides" / "a made slide.svs").stat().st_size / 10


def test_a_file_is_parsed_by_blocks(server: Server) -> None:
    path = server.root / "slides" / "a made slide.svs"
    content = path.read_bytes()
    remote = RemoteObject(f"{server.url}/slides/a%20made%20slide.svs")
    with remote.open() as file:
        assert file.read(10) == content[:10]
        file.seek(-7, 2)
        assert file.read() == content[-7:]
        assert file.read(5) == b""
        file.seek(BLOCK - 3)
        assert file.read(7) == content[BLOCK - 3 : BLOCK + 4]
        file.seek(0)
        assert file.read() == content
    assert list(remote.read_many([(5, 4), (0, 0), (100_000, 6), (5, 4)])) == [
        content[5:9],
        b"",
        content[100_000:100_006],
        content[5:9],
    ]
    assert remote.read(len(content) - 2, 100) == content[-2:]


@pytest.mark.parametrize("compression", ["zlib", "jpeg"])
def test_other_tiffs_are_read_too(server: Server, compression: str) -> None:
    path = server.root / "slides" / f"{compression}.ome.tiff"
    image = draw(900, 700, 0.5, seed=3)
    arguments = {"outcolorspace": "rgb"} if compression == "jpeg" else {}
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(
        path,
        image,
        tile=(256, 256),
        photometric="rgb",
        compression=compression,
        compressionargs=arguments,
        metadata=metadata,
        ome=True,
    )
    with open_slide(f"{server.url}/slides/{path.name}") as there, open_slide(path) as here:
        assert replace(there.info, content_hash=here.info.content_hash) == here.info
        assert there.info.reader == "tiff-ome"
        assert np.array_equal(there.thumbnail(300), here.thumbnail(300))


@pytest.mark.parametrize("scheme", ["http", "s3"])
def test_zarr_is_read_remotely(server: Server, s3: str, scheme: str) -> None:
    path = server.root / "slides" / "image.zarr"
    image = draw(900, 700, 0.5, seed=3)
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.create_array("0", shape=(700, 900, 3), chunks=(200, 200, 3), dtype="u1")[:] = image
    axes: list[Any] = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"] + [{"name": "c"}]
    scale = {"type": "scale", "scale": [0.5, 0.5, 1]}
    datasets = [{"path": "0", "coordinateTransformations": [scale]}]
    about: Any = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    root.attrs["ome"] = about
    base = s3 if scheme == "s3" else f"{server.url}/slides"
    with open_slide(f"{base}/image.zarr") as there, open_slide(path) as here:
        assert replace(there.info, content_hash=here.info.content_hash) == here.info
        assert np.array_equal(there.read_to(Region(0, 0, 900, 700), Size(900, 700)), image)


@pytest.mark.parametrize("name", ["nothing.svs", "nothing.zarr"])
def test_nothing_at_a_remote_address(server: Server, name: str) -> None:
    with pytest.raises(SlideError) as error:
        open_slide(f"{server.url}/slides/{name}")
    assert "127.0.0.1" not in str(error.value)
    assert "nothing" not in str(error.value)


def test_a_server_that_refuses(server: Server) -> None:
    server.fail = True
    try:
        with pytest.raises(SlideNotFoundError):
            open_slide(f"{server.url}/slides/a%20made%20slide.svs")
    finally:
        server.fail = False


@pytest.mark.parametrize("name", ["a%20made%20slide.svs", "failing.zarr"])
def test_a_server_that_goes_away(server: Server, name: str) -> None:
    write_ome_zarr(server.root / "slides" / "failing.zarr")
    with open_slide(f"{server.url}/slides/{name}") as slide:
        server.fail = True
        try:
            with pytest.raises(SlideNotFoundError) as error:
                slide.read(Region(0, 0, 500, 500))
        finally:
            server.fail = False
        assert "127.0.0.1" not in str(error.value)
        assert slide.read(Region(0, 0, 500, 500)).shape == (500, 500, 3)


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1/x.svs", "https://", "s3://bucket", "https://host/x.svs?token=1", "http://localhost.evil/x"],
)
def test_addresses_that_are_not_read(url: str) -> None:
    with pytest.raises(NotASlideError):
        open_slide(url)


def test_what_is_no_slide_remotely(server: Server) -> None:
    (server.root / "slides" / "notes.txt").write_text("hello")
    with pytest.raises(NotASlideError):
        open_slide(f"{server.url}/slides/notes.txt")


@pytest.mark.parametrize("name", CLAIMED)
def test_a_huge_claim_is_refused_remotely_as_it_is_here(server: Server, name: str) -> None:
    """In the same words: no parser saw it."""
    folder = server.root / "claims" / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True)
    path = CLAIMS[name](folder)
    with pytest.raises(SlideError) as here:
        guard.check(path)
    begin, before = time.perf_counter(), server.sent
    with pytest.raises(here.type) as there:
        open_slide(f"{server.url}/{path.relative_to(server.root)}")
    assert str(there.value) == str(here.value)
    assert time.perf_counter() - begin < 1
    assert server.sent - before < 1 << 22


def test_a_remote_slide_is_not_read_in_isolation(server: Server, tmp_path: Path) -> None:
    address = Address(f"{server.url}/slides/a%20made%20slide.svs", jail=Jail(quarantine=str(tmp_path)))
    before = len(server.signed)
    with pytest.raises(UnsafeSlideError, match="remote address cannot be read in isolation"):
        open_slide(address)
    assert len(server.signed) == before  # nothing was fetched, not even to look at


def test_a_local_slide_needs_no_http_client() -> None:
    code = "import sys, slides; from slides.formats import tiff_jpeg; sys.exit('obstore' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
