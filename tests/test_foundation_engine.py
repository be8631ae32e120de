"""Many slides in one run: batches mix them, one read serves several encoders, and memory is bounded."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foundation import (
    BadFeaturesError,
    ContractError,
    DeviceError,
    EmbedOptions,
    EmbedRun,
    SlideOutcome,
    SlideSource,
    embed,
    list_encoders,
    load_encoder,
)
from foundation.engine.batcher import Batcher, Part, Stream
from foundation.engine.device import devices_of
from foundation.engine.item import Clock, Item
from foundation.engine.reading import Tap
from foundation.engine.sheet import Sheet
from foundation.engine.simulated import ColourEncoder, SimulatedDevice
from foundation.testing import TINY_TIMM, write_tiny_timm
from slides import Address
from slides.testing import write_slide
from tiling import TileSpec, TileStore, tile
from tiling.cut import Block, cut

SPEC = replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0,))
FAST = 1e6


def colour(key: str = "colour", px: int = 64, mpp: tuple[float, ...] = (1.0,)) -> ColourEncoder:
    return ColourEncoder(replace(SPEC, key=key, px=px, mpp=mpp))


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> list[Address]:
    folder = tmp_path_factory.mktemp("slides")
    sizes = ((900, 700), (700, 500), (800, 900))
    return [Address.of(write_slide(folder / f"{i}.svs", size=size, seed=i)) for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def stores(slides: list[Address], tmp_path_factory: pytest.TempPathFactory) -> list[TileStore]:
    return [tile(slide, [TileSpec(1.0, px=64)], tmp_path_factory.mktemp("stores"), keep="raw") for slide in slides]


def by_slide(run: EmbedRun) -> dict[int, SlideOutcome]:
    return {outcome.number: outcome for outcome in run}


def test_batches_mix_slides_and_only_the_last_is_filled_up(stores: list[TileStore], tmp_path: Path) -> None:
    device = SimulatedDevice(FAST, batch=32)
    run = EmbedRun(stores, [colour()], tmp_path, devices=[device])
    outcomes = by_slide(run)
    counts = [len(store.grid(1.0)) for store in stores]
    assert device.taken == [32] * -(-sum(counts) // 32)
    assert sum(count % 32 for count in counts) > 32  # else a run without mixing would do as well
    for number, store in enumerate(stores):
        plain = embed(store, colour(), tmp_path / "plain")
        assert np.array_equal(outcomes[number].get().features(1.0), plain.features(1.0))
        assert outcomes[number].get().fingerprint == plain.fingerprint
    report = run.report()
    assert (report.tiles, report.batch) == (sum(counts), 32)
    assert {each["state"] for each in report.slides} == {"done"}


@pytest.mark.parametrize("name", ["builtin", TINY_TIMM])
def test_company_changes_no_bit(name: str, slides: list[Address], tmp_path: Path) -> None:
    weights = None if name == "builtin" else write_tiny_timm(tmp_path / "weights.safetensors")
    encoder = load_encoder(name, weights)
    few = EmbedOptions(threads=2, batch=16)
    run = EmbedRun(slides[:2], [encoder], tmp_path / "mixed", zooms=[1.0], options=few)
    mixed = by_slide(run)
    for number, slide in enumerate(slides[:2]):
        store = tile(slide, [TileSpec(1.0, px=encoder.spec.px)], tmp_path, keep="no")
        alone = embed(store, encoder, tmp_path / "alone", address=slide)
        assert mixed[number].get().fingerprint == alone.fingerprint
        assert np.array_equal(mixed[number].get().features(1.0), alone.features(1.0))
        assert np.array_equal(mixed[number].get().coords(1.0), store.grid(1.0).coords)
    flops = run.report().flops_per_tile[name]
    assert flops is not None
    if name == "builtin":
        assert flops == pytest.approx(2 * 407e6, rel=0.1)  # published: 407 million multiply-adds


@given(st.permutations(range(12)), st.sets(st.integers(1, 11)), st.permutations(range(12)))
def test_features_find_their_tiles_in_whatever_order_they_come(
    come: list[int], cuts: set[int], wanted: list[int]
) -> None:
    told: list[Sheet] = []
    sheet, rows = Sheet(told.append), np.arange(24, dtype=np.float32).reshape(12, 2)
    sheet.expect(12)
    for tickets in np.split(np.array(come), sorted(cuts)):
        assert not told
        sheet.add(tickets, rows[tickets])
    assert told == [sheet]
    assert np.array_equal(sheet.features(np.array(wanted), 2), rows[wanted])
    assert sheet.features(np.array([], np.int64), 2).shape == (0, 2)
    sheet.fail(ValueError())
    assert sheet.error is None


def test_a_slide_is_read_once_for_all_encoders(
    slides: list[Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[Block] = []

    def counted(*arguments: object) -> Iterator[object]:
        cuts.append(arguments[2])  # type: ignore[arg-type]
        return cut(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("tiling.band.cut", counted)
    monkeypatch.setattr("tiling.feed.cut", counted)
    encoders = [colour(), colour("other"), colour("third", 32)]
    outcomes = list(EmbedRun(slides[:1], encoders[:1], tmp_path / "one"))
    once = len(cuts)
    outcomes = list(EmbedRun(slides[:1], encoders[:2], tmp_path / "two"))
    assert len(cuts) == 2 * once
    assert [outcome.get().encoder["key"] for outcome in outcomes] == ["colour", "other"]
    three = list(EmbedRun(slides[:1], encoders, tmp_path / "three"))
    assert len(cuts) == 4 * once  # the third takes other tiles
    assert {outcome.get().encoder["key"] for outcome in three} == {"colour", "other", "third"}


def test_no_more_batches_exist_than_may_wait(slides: list[Address], tmp_path: Path) -> None:
    options = EmbedOptions(queue=2, readers=2)
    run = EmbedRun(slides, [colour()], tmp_path, devices=[SimulatedDevice(600, batch=8)], options=options)
    assert all(outcome.error is None for outcome in run)
    assert run.report().buffer_bytes <= (1 + 2 + 2) * 8 * 64 * 64 * 3
    assert run.report().seconds["wait"] > 0  # readers were faster, and waited


def test_the_contract_is_kept_for_each_slide(stores: list[TileStore], slides: list[Address], tmp_path: Path) -> None:
    small = colour("small", 32)
    outcomes = list(EmbedRun(stores[:1], [colour(), small], tmp_path))
    assert {outcome.encoder: type(outcome.error) for outcome in outcomes} == {
        "colour": type(None),
        "small": ContractError,
    }
    allowed = EmbedRun(stores[:1], [colour(), small], tmp_path, options=EmbedOptions(override=True))
    made = {outcome.encoder: outcome.get() for outcome in allowed}
    assert len(made["small"].provenance["overridden"]) == 1
    assert not made["colour"].provenance["overridden"]
    with pytest.raises(ContractError, match="meant for"):
        EmbedRun(slides, [colour()], tmp_path, zooms=[2.0])
    with pytest.raises(ContractError, match="states no scale"):
        EmbedRun(slides, [colour(mpp=())], tmp_path)
    with pytest.raises(ContractError, match="address or a store"):
        next(iter(EmbedRun([SlideSource()], [colour()], tmp_path))).get()


def test_features_know_who_made_them(stores: list[TileStore], tmp_path: Path) -> None:
    encoder = colour()
    made = embed(stores[0], encoder, tmp_path)
    names = (encoder.spec.key, encoder.weights_digest, encoder.preprocessing_digest)
    made.require_encoder(*names)
    for place in range(3):
        other = tuple("f" * 64 if at == place else name for at, name in enumerate(names))
        named = ("key", "weights digest", "preprocessing digest")[place]
        with pytest.raises(ContractError, match=rf"'colour' and not .* {named} differs"):
            made.require_encoder(*other)


def test_devices_by_name() -> None:
    assert devices_of("cpu", threads=3)[0].lanes == 3
    for name in ("gpu", "cuda:x", "cuda:99", "auto:1"):
        with pytest.raises(DeviceError):
            devices_of(name)


def test_readers_that_wait_do_not_read_meanwhile() -> None:
    class Full(Batcher):
        def put(self, stream: Stream, part: Part, tiles: NDArray[np.uint8]) -> float:
            del stream, part, tiles
            return 5.0

    clock, item = Clock(), Item(0, colour(), print)
    stream = Stream(SPEC, images=False, encoders=(item.encoder,))
    tap = Tap(Full(4, 1, np.zeros), [(stream, (item,))], clock)
    assert tap(1.0, np.zeros((3, 64, 64, 3), np.uint8)).ravel().tolist() == [0, 1, 2]
    assert (clock.seconds["wait"], clock.seconds["read"]) == (5, -5)  # for who reads adds all the time of the call


@dataclass(frozen=True)
class Counts(ColourEncoder):
    """Says that it computes a certain lot."""

    flops: int = 1

    def flops_per_tile(self) -> int:
        return self.flops


def test_operations_are_those_of_the_encoders_that_ran(stores: list[TileStore], tmp_path: Path) -> None:
    light, heavy = Counts(replace(SPEC, key="light"), flops=10), Counts(replace(SPEC, key="heavy"), flops=1000)

    def achieved(*encoders: Counts) -> float:
        run = EmbedRun(stores[:1], encoders, tmp_path, devices=[SimulatedDevice(FAST, batch=8)])
        assert all(outcome.error is None for outcome in run)
        report = run.report()
        assert report.flops_per_s is not None
        assert report.tiles_per_s_fed is not None
        return report.flops_per_s / report.tiles_per_s_fed

    assert achieved(light) == pytest.approx(10)
    assert achieved(light, heavy) == pytest.approx(1000)  # the light one's features are there already


def test_the_reason_of_a_slide_holds_none_of_its_pixels(slides: list[Address], tmp_path: Path) -> None:
    class Pixels:
        """What is large."""

    seen: list[weakref.ref[Pixels]] = []

    def failing_with(pixels: Pixels) -> None:
        raise ArithmeticError(type(pixels).__name__)

    class Breaks(ColourEncoder):
        def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
            pixels = Pixels()
            seen.append(weakref.ref(pixels))
            try:
                failing_with(pixels)
            except ArithmeticError as error:
                raise BadFeaturesError(str(len(tiles))) from error
            return super().encode(tiles)

    run = EmbedRun(slides, [Breaks(SPEC)], tmp_path, devices=[SimulatedDevice(FAST)])
    outcomes = by_slide(run)
    assert all(isinstance(outcome.error, BadFeaturesError) for outcome in outcomes.values())
    assert [each() for each in seen] == [None] * len(seen)
