"""Encoding while tiles are cut gives the features that embedding afterwards gives, here and on workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from foundation import (
    ContractError,
    Embeddings,
    Encoder,
    WeightsMismatchError,
    embed,
    embed_in_one_pass,
    load_encoder,
    one_pass,
)
from foundation.encoder import recipe_of
from foundation.one_pass import EncodeTiles
from slides import Address
from slides.testing import write_slide
from tiling import LocalPool, Needs, SpecError, TileSpec, tile
from tiling.cluster import DaskPool
from tiling.fingerprint import fingerprint
from tiling.pool import ANYWHERE, Item, Outcome, Result
from tiling.sampling import Sampling
from tiling.selection import Selection

SPECS = [TileSpec(0.5), TileSpec(1.0)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Address:
    return Address.of(write_slide(tmp_path_factory.mktemp("slide") / "drawn.svs", size=(1500, 1100), seed=3))


@pytest.mark.parametrize("workers", [0, 1])
def test_one_pass_gives_the_same_features(address: Address, tmp_path: Path, workers: int) -> None:
    encoder = load_encoder("builtin")
    if workers:
        with DaskPool(workers=workers) as pool:
            store, made = embed_in_one_pass(address, SPECS, encoder, tmp_path / "one", pool=pool)
    else:
        store, made = embed_in_one_pass(address, SPECS, encoder, tmp_path / "one")
    plain = embed(tile(address, SPECS, tmp_path / "two", keep="no"), encoder, tmp_path / "two", address=address)
    assert made.fingerprint == plain.fingerprint
    assert store.keep == "no"
    for mpp in (0.5, 1.0):
        assert np.array_equal(made.features(mpp), plain.features(mpp))


def test_two_slides_at_once_share_the_encoder(
    address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One ends while the other is at work; the encoder that was given is the one that is used, to the end."""
    encoder = load_encoder("builtin")

    def load(*_: object) -> Encoder:
        raise AssertionError("the encoder was taken away")

    monkeypatch.setattr(one_pass, "load_encoder", load)
    short = Address.of(write_slide(tmp_path / "short.svs", size=(700, 600), seed=4))
    begun, ended = threading.Event(), threading.Event()

    def run_short() -> Embeddings:
        begun.wait(60)
        try:
            return embed_in_one_pass(short, SPECS[:1], encoder, tmp_path)[1]
        finally:
            ended.set()

    class Slow(LocalPool):
        """Does nothing before the other slide is done."""

        def outcomes(
            self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
        ) -> Iterator[Outcome[Result]]:
            begun.set()
            ended.wait(60)
            return super().outcomes(function, items, needs)

    with ThreadPoolExecutor(1) as thread, Slow(1) as pool:
        other = thread.submit(run_short)
        _, made = embed_in_one_pass(address, SPECS[:1], encoder, tmp_path, pool=pool)
        assert len(other.result().features(0.5)) > 0
    assert len(made.features(0.5)) > 0
    assert not one_pass._HERE


def test_needs_and_selection_are_passed_on(address: Address, tmp_path: Path) -> None:
    asked = []

    class Listening(LocalPool):
        def outcomes(
            self, function: Callable[[Item], Result], items: Iterable[Item], needs: Needs = ANYWHERE
        ) -> Iterator[Outcome[Result]]:
            asked.append(needs)
            return super().outcomes(function, items, needs)

    few = Selection(sampling=Sampling("top", 3))
    with Listening(2) as pool:
        _, made = embed_in_one_pass(
            address, SPECS[:1], load_encoder("builtin"), tmp_path, pool=pool, selection=few, needs=Needs(gpus=1)
        )
    assert asked == [Needs(gpus=1)]
    assert len(made.features(0.5)) == 3


def test_a_store_that_is_there_is_embedded_from_it(address: Address, tmp_path: Path) -> None:
    encoder = load_encoder("builtin")
    tile(address, SPECS, tmp_path, keep="no")
    _, made = embed_in_one_pass(address, SPECS, encoder, tmp_path)
    assert len(made.features(0.5)) > 0


def test_pixels_that_will_change_are_not_encoded(address: Address, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="jpeg"):
        embed_in_one_pass(address, SPECS, load_encoder("builtin"), tmp_path, keep="jpeg")
    assert list(tmp_path.iterdir()) == []


def test_the_contract_is_looked_at_before_any_work(address: Address, tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        embed_in_one_pass(address, [TileSpec(0.5, px=256)], load_encoder("builtin"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [{"weights_sha256": "0" * 64}, {"pooling": "mean"}])
def test_a_worker_with_other_weights_or_another_recipe_does_nothing(other: dict[str, str]) -> None:
    recipe = recipe_of(load_encoder("builtin"))
    measure = EncodeTiles("builtin", None, fingerprint(**recipe | other), 16)
    with pytest.raises(WeightsMismatchError):
        measure(0.5, np.zeros((1, 224, 224, 3), np.uint8))
