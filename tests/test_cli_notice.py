"""What the commands print for people says "research use only", whatever comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from api import NOTICE
from api.cli import main
from slides.testing import write_slide


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("slide") / "s.svs", size=(1000, 800), mpp=1.0)


def test_every_result_says_what_it_is_not_for(slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(status: int, *arguments: object) -> str:
        assert main([str(each) for each in arguments]) == status, capsys.readouterr().err
        return capsys.readouterr().out

    tiles = tmp_path / "tiles"
    assert NOTICE in said(0, "info", slide)
    assert NOTICE in said(0, "mask", slide, "--out", tmp_path / "m.geojson")
    assert NOTICE in said(0, "tile", slide, "--mpp", 1, "--out", tiles)
    (store,) = tiles.glob("*.zarr")
    assert NOTICE in said(0, "verify", store)
    assert NOTICE in said(0, "embed", store, "--encoder", "builtin", "--out", tmp_path)
    assert "research use only" in said(0, "ask", store, "--prompt", "necrosis", "--out", tmp_path / "a").lower()
    next(store.glob("zooms/1/pixels/c/0/*/*")).unlink()
    assert NOTICE in said(1, "verify", store)
    table = tmp_path / "manifest.csv"
    table.write_text(f"slide,path\nS-1,{slide.with_name('none.svs')}\n")
    assert NOTICE in said(1, "cohort", table, "--biomarker", "demo-response", "--out", tmp_path / "cohort")
