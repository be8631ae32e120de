"""OME-Zarr 0.4 and 0.5, written here in every layout of axes and chunks that the reader takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numcodecs  # type: ignore[import-untyped]
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

from slides import Address, DamagedSlideError, Mpp, NotASlideError, Region, SlideError, open_slide
from slides.errors import UnsafeSlideError
from slides.ome_zarr import SAFE_CODECS, SAFE_COMPRESSORS, require_safe
from slides.profile import ABSENT
from slides.synthetic_zarr import HEIGHT, WIDTH, write_ome_zarr
from slides.testing import SlideConformance, draw
from slides.tiles import TiledSlide


def difference(path: Path) -> int:
    with open_slide(path) as slide:
        assert slide.info.reader == "ome-zarr"
        read = slide.read(Region(0, 0, WIDTH, HEIGHT))
    return int(np.abs(read.astype(int) - draw(WIDTH, HEIGHT, 0.5, seed=9)).max())


class TestOmeZarr(SlideConformance):
    @pytest.fixture(scope="class", params=["0.4", "0.5"])
    @classmethod
    def address(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Address:
        folder = tmp_path_factory.mktemp("conformance") / "a-made-slide.zarr"
        return Address.of(write_ome_zarr(folder, version=request.param))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "yxc", "tczyx", "zyxc"])
def test_pixels_come_back_exactly_whatever_the_axes(tmp_path: Path, version: Literal["0.4", "0.5"], axes: str) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", version=version, axes=axes)
    assert difference(path) == 0
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.info.levels] == [1, 2]
        assert (slide.info.mpp, slide.info.mpp_source) == (Mpp.square(0.5), "header")
        assert bool(slide.info.warnings) == ("z" in axes)
        assert "CANARY" not in repr(slide.info)


def test_chunks_in_shards(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", shards=True)
    assert difference(path) == 0
    with open_slide(path) as slide:
        assert isinstance(slide, TiledSlide)
        assert slide._layers[0].tile.width == 200  # the chunk, not the shard


def test_the_first_series_of_a_bioformats2raw_folder(tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    zarr.open_group(path, mode="w", zarr_format=2).attrs["bioformats2raw.layout"] = 3
    write_ome_zarr(path, version="0.4", group="0")
    assert difference(path) == 0


@pytest.mark.parametrize(
    ("size", "unit", "um"),
    [(0.5, "micrometer", 0.5), (500.0, "nanometer", 0.5), (0.0005, "millimeter", 0.5), (0.5, None, None)],
)
def test_the_scale_needs_a_unit(tmp_path: Path, size: float, unit: str | None, um: float | None) -> None:
    with open_slide(write_ome_zarr(tmp_path / "s.zarr", size=size, unit=unit)) as slide:
        assert slide.info.mpp == (None if um is None else Mpp.square(um))


def test_the_content_hash_follows_the_pixels(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr")
    copy = tmp_path / "another.zarr"
    shutil.copytree(path, copy)
    with open_slide(path) as a, open_slide(copy) as b:
        assert a.info.content_hash == b.info.content_hash
    zarr.open_array(copy, path="0")[0, 5, 5] = 1
    with open_slide(copy) as b:
        assert a.info.content_hash != b.info.content_hash


def test_a_broken_chunk_is_reported_by_place(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr")
    (path / "0" / "c" / "0" / "1" / "2").write_bytes(b"\xff" * 300)
    with open_slide(path) as slide:
        slide.read(Region(0, 0, 200, 200))
        with pytest.raises(DamagedSlideError, match="level-0 pixel"):
            slide.read(Region(0, 0, WIDTH, HEIGHT))


def edited(path: Path, name: str, **changes: object) -> Path:
    file = path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def test_codecs_that_run_code_are_refused(tmp_path: Path) -> None:
    second = write_ome_zarr(tmp_path / "2.zarr", version="0.4")
    for changes in ({"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}, {"dtype": "|O"}):
        original = (second / "0" / ".zarray").read_text()
        with pytest.raises(NotASlideError):
            open_slide(edited(second, "0/.zarray", **changes))
        (second / "0" / ".zarray").write_text(original)
    third = write_ome_zarr(tmp_path / "3.zarr")
    for changes in ({"codecs": [{"name": "numcodecs.pickle"}]}, {"codecs": "?"}, {"data_type": "uint16"}):
        with pytest.raises(NotASlideError):
            open_slide(edited(third, "0/zarr.json", **changes))
    inner = {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}
    document = {"data_type": "uint8", "codecs": [inner]}
    with pytest.raises(NotASlideError):
        require_safe(lambda key: json.dumps(document).encode() if key.endswith("zarr.json") else None, "0")


@pytest.mark.parametrize("where", ["../secret", "/etc", "0/../../x", ""])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, where: str) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", version="0.4")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["path"] = where
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(DamagedSlideError):
        open_slide(path)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", version="0.4")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(path / "0" / ".zarray", elsewhere)
    (path / "0" / ".zarray").symlink_to(elsewhere)
    with pytest.raises(UnsafeSlideError):
        open_slide(path)


@pytest.mark.parametrize("content", ["{", "[]", '{"multiscales": 3}', '{"multiscales": [{"axes": 1}]}'])
def test_damaged_metadata_are_a_typed_error(tmp_path: Path, content: str) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", version="0.4")
    (path / ".zattrs").write_text(content)
    with pytest.raises(SlideError):
        open_slide(path)


def test_channels_that_are_not_red_green_blue(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", version="0.4")
    for colours in (["FF0000", "00FF00", "0000FF"], ["0000FF", "00FF00", "FF0000"]):
        edited(path, ".zattrs", omero={"channels": [{"color": colour} for colour in colours]})
        if colours[0] == "FF0000":
            assert difference(path) == 0
        else:
            with pytest.raises(NotASlideError, match="red"):
                open_slide(path)


def test_a_missing_array_is_a_typed_error(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr")
    shutil.rmtree(path / "1")
    with pytest.raises(SlideError):
        open_slide(path)


def test_two_channels_are_no_slide(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", version="0.4")
    edited(path, "0/.zarray", shape=[2, HEIGHT, WIDTH])
    with pytest.raises(NotASlideError):
        open_slide(path)


COMPRESSORS = [
    *(numcodecs.Zlib(), numcodecs.GZip(), numcodecs.BZ2(), numcodecs.LZMA()),
    *(numcodecs.Zstd(checksum=True), numcodecs.LZ4(), numcodecs.Blosc()),
]
CODECS = {
    "gzip": [GzipCodec()],
    "zstd": [ZstdCodec(checksum=True)],
    "blosc": [BloscCodec()],
    "crc32c": [Crc32cCodec()],
}


def test_all_codecs_that_are_read_are_broken_below() -> None:
    assert {codec.codec_id for codec in COMPRESSORS} == SAFE_COMPRESSORS
    assert set(CODECS) == SAFE_CODECS - {"bytes", "transpose", "sharding_indexed"}


@pytest.mark.parametrize("codec", [*COMPRESSORS, *CODECS], ids=lambda codec: getattr(codec, "codec_id", f"v3-{codec}"))
def test_a_damaged_chunk_of_any_codec_is_named_by_place(tmp_path: Path, codec: Any) -> None:  # noqa: ANN401 - of two kinds
    path = write_ome_zarr(tmp_path / "s.zarr", version="0.5" if isinstance(codec, str) else "0.4")
    shutil.rmtree(path / "0")
    made: Any = CODECS[codec] if isinstance(codec, str) else codec
    array = zarr.open_group(path, mode="r+").create_array(
        "0", shape=(3, 512, 1600), chunks=(3, 256, 200), dtype="u1", compressors=made
    )
    array[:] = draw(1600, 512, 0.5).transpose(2, 0, 1)
    chunk = next(path / "0" / key for key in ("c/0/1/2", "0.1.2") if (path / "0" / key).exists())
    content = chunk.read_bytes()
    for damaged in (content[: len(content) // 2], b"\x55" * len(content), b""):
        chunk.write_bytes(damaged)
        with open_slide(path) as slide:
            slide.read(Region(0, 0, 200, 200))
            with pytest.raises(DamagedSlideError, match=r"level-0 pixel \(400, 256\)"):
                slide.read(Region(0, 0, 1600, 512))
            slide.read(Region(0, 0, 200, 200))


@pytest.mark.parametrize("shards", [False, True])
def test_absent_chunks_are_glass_and_are_counted(tmp_path: Path, *, shards: bool) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr", shards=shards)
    (path / "0" / "c" / "0" / "1" / "2").unlink()
    with open_slide(path) as slide:
        read = slide.read(Region(0, 0, WIDTH, HEIGHT))
        count = 12 if shards else 40
        assert slide.info.warnings == (f"1 of {count} chunks of the image are absent; they are shown as glass",)
    hole = np.s_[512:1024, 800:1200] if shards else np.s_[256:512, 400:600]
    expected = draw(WIDTH, HEIGHT, 0.5, seed=9)
    expected[hole] = 255
    assert np.array_equal(read, expected)


def test_absent_chunks_of_a_dark_slide_stay_black(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr")
    for level in ("0", "1"):
        array = zarr.open_array(path, path=level)
        array[:] = np.asarray(array[:]) // 8 + 1
    (path / "0" / "c" / "0" / "1" / "2").unlink()
    with open_slide(path) as slide:
        assert (slide.read(Region(400, 256, 200, 256)) == 0).all()
        assert slide.info.warnings == (
            "1 of 40 chunks of the image are absent; they are shown as the array's fill value",
        )


def test_a_wanted_colour_profile_that_is_not_there_is_reported(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "s.zarr")
    with open_slide(Address(str(path), icc=True)) as slide:
        assert (slide.info.icc, slide.info.warnings) == ("none", (ABSENT,))
