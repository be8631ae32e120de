"""What goes wrong in a run of many slides stays with its slide, and nothing is left half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from foundation import (
    BadFeaturesError,
    DeviceError,
    EmbedOptions,
    EmbedRun,
    SlideOutcome,
    embed,
    list_encoders,
)
from foundation.embed_store import Making
from foundation.engine.device import CpuDevice, HostProgram
from foundation.engine.simulated import ColourEncoder, Fault, SimulatedDevice
from foundation.errors import DeviceFullError
from slides import Address, DamagedSlideError
from slides.testing import write_slide
from tiling import TileSpec, TileStore, tile, verify_manifest
from tiling.cut import Block, cut

SPEC = replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0,))
ROOT = Path(__file__).resolve().parents[1]
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


def failing(error: Exception, after: int = -1, wait: threading.Event | None = None) -> Fault:
    """A device that fails with every batch after one."""

    def fault(number: int, tiles: int) -> None:
        if number > after and tiles:
            if wait is not None:
                wait.wait(30)
            raise error

    return fault


def by_slide(run: EmbedRun) -> dict[int, SlideOutcome]:
    return {outcome.number: outcome for outcome in run}


def left_behind(out: Path) -> list[Path]:
    """What is neither a whole store nor a lock file that is free."""
    whole = {path for path in out.glob("*.zarr") if not verify_manifest(path)}
    return [path for path in out.iterdir() if path not in whole]


def test_an_error_in_the_middle_fails_that_slide_only(
    slides: list[Address], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def broken(slide: object, family: object, block: Block) -> Iterator[object]:
        size = slide.info.size  # type: ignore[attr-defined]
        for each in cut(slide, family, block):  # type: ignore[arg-type]
            if (size.width, size.height) == (700, 500):
                seen.append(1)
                yield each
                raise DamagedSlideError("a tile cannot be decoded")
            yield each

    monkeypatch.setattr("tiling.band.cut", broken)
    missing = Address.of(tmp_path / "missing.svs")
    run = EmbedRun([slides[0], slides[1], missing, slides[2]], [colour()], tmp_path / "out")
    outcomes = by_slide(run)
    assert seen
    assert isinstance(outcomes[1].error, DamagedSlideError)
    assert outcomes[2].error is not None
    for number in (0, 3):
        assert len(outcomes[number].get().features(1.0)) > 0
    assert left_behind(tmp_path / "out") == []
    assert [each["state"] for each in run.report().slides].count("failed") == 2
    assert not any(outcome.reused for outcome in outcomes.values())
    with pytest.raises(DamagedSlideError):
        outcomes[1].get()


@dataclass(frozen=True)
class Picky(ColourEncoder):
    """Gives what is no number for the tiles of one slide, by their mean colour."""

    bad: frozenset[float] = frozenset()

    def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows = super().encode(tiles)
        rows[[float(row[0]) in self.bad for row in rows]] = np.nan
        return rows


def test_features_that_are_no_numbers_fail_their_slide_only(stores: list[TileStore], tmp_path: Path) -> None:
    bad = frozenset(map(float, colour().encode(next(stores[1].batches(1.0, 4))[1])[:, 0]))
    outcomes = by_slide(EmbedRun(stores, [Picky(SPEC, bad=bad)], tmp_path, devices=[SimulatedDevice(FAST, batch=32)]))
    assert isinstance(outcomes[1].error, BadFeaturesError)
    assert (outcomes[0].error, outcomes[2].error) == (None, None)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_batch_that_does_not_fit_is_divided(stores: list[TileStore], tmp_path: Path) -> None:
    def full(number: int, tiles: int) -> None:
        if number >= 2 and tiles > 10:
            raise DeviceFullError("full")

    device = SimulatedDevice(FAST, batch=32, fault=full)
    run = EmbedRun(stores, [colour()], tmp_path, devices=[device])
    outcomes = by_slide(run)
    assert device.taken[:2] == [32, 32]
    assert set(device.taken[2:]) == {8}
    plain = embed(stores[0], colour(), tmp_path / "plain")
    assert np.array_equal(outcomes[0].get().features(1.0), plain.features(1.0))
    (about,) = run.report().devices
    assert (about.oom_halvings, about.batch, device.relieved) == (2, 8, 2)


def test_a_device_too_small_for_one_tile_says_so(stores: list[TileStore], tmp_path: Path) -> None:
    device = SimulatedDevice(FAST, fault=failing(DeviceFullError("full")))
    outcomes = by_slide(EmbedRun(stores, [colour()], tmp_path, devices=[device]))
    assert all("single tile" in str(outcome.error) for outcome in outcomes.values())


def test_what_was_finished_stays_when_the_device_goes_away(stores: list[TileStore], tmp_path: Path) -> None:
    enough, written = len(stores[0].grid(1.0)) // 8 + 1, threading.Event()
    outcomes: dict[int, SlideOutcome] = {}
    device = SimulatedDevice(FAST, batch=8, depth=0, fault=failing(DeviceError("The GPU went away."), enough, written))
    for outcome in EmbedRun(stores, [colour()], tmp_path, devices=[device], options=EmbedOptions(ahead=0)):
        written.set()
        outcomes[outcome.number] = outcome
    assert outcomes[0].error is None
    assert all(isinstance(outcomes[number].error, DeviceError) for number in (1, 2))
    assert left_behind(tmp_path) == []
    again = by_slide(EmbedRun(stores, [colour()], tmp_path))
    assert [again[number].reused for number in range(3)] == [True, False, False]


def test_tiles_that_were_under_way_when_the_device_went_away_leave_nothing(
    slides: list[Address], tmp_path: Path
) -> None:
    device = SimulatedDevice(FAST, batch=8, fault=failing(DeviceError("The GPU went away."), after=2))
    outcomes = list(EmbedRun(slides, [colour()], tmp_path, devices=[device]))
    assert all(isinstance(outcome.error, DeviceError) for outcome in outcomes)
    assert len(outcomes) == 3
    assert left_behind(tmp_path) == []


def test_a_run_given_up_halfway_stops(slides: list[Address], stores: list[TileStore], tmp_path: Path) -> None:
    before = threading.active_count()
    device = SimulatedDevice(40, batch=8)
    for outcome in EmbedRun(slides, [colour()], tmp_path, devices=[device]):
        assert outcome.error is None
        break
    assert threading.active_count() == before
    assert sum(device.taken) < sum(len(store.grid(1.0)) for store in stores)
    assert left_behind(tmp_path) == []


def test_an_encoder_that_breaks_fails_its_slides_and_hangs_nothing(stores: list[TileStore], tmp_path: Path) -> None:
    class Breaks(ColourEncoder):
        def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise ArithmeticError(len(tiles))

    outcomes = list(EmbedRun(stores, [colour(), Breaks(replace(SPEC, key="breaks"))], tmp_path))
    failed = {(outcome.number, outcome.encoder) for outcome in outcomes if outcome.error is not None}
    assert failed == {(number, "breaks") for number in range(3)}
    assert all(isinstance(each.error, ArithmeticError) for each in outcomes if each.encoder == "breaks")


def test_what_did_not_fit_is_let_go_before_less_is_tried(stores: list[TileStore], tmp_path: Path) -> None:
    class Activations:
        """What a network had computed when memory ended."""

    kept: list[weakref.ref[Activations]] = []
    alive: list[bool] = []

    class Device(SimulatedDevice):
        def relieve(self) -> None:
            alive.append(kept[0]() is not None)

    def full(number: int, tiles: int) -> None:
        if number == 0 and tiles:
            activations = Activations()
            kept.append(weakref.ref(activations))
            raise DeviceFullError("full")

    outcomes = list(EmbedRun(stores[:1], [colour()], tmp_path, devices=[Device(FAST, batch=16, fault=full)]))
    assert outcomes[0].error is None
    assert alive == [False]


def test_a_machine_without_room_for_batches_fails_slides_and_waits_for_nothing(
    stores: list[TileStore], tmp_path: Path
) -> None:
    class Device(SimulatedDevice):
        def buffer(self, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
            raise MemoryError(shape)

    options = EmbedOptions(queue=1, ahead=0)
    run = EmbedRun(stores * 2, [colour()], tmp_path, devices=[Device(FAST, depth=0)], options=options)
    assert [type(outcome.error) for outcome in run] == [MemoryError] * 6
    assert run.report().buffer_bytes == 0


def test_every_slide_has_an_outcome_even_where_the_run_itself_breaks(
    stores: list[TileStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_threads: int | None) -> None:
        raise RuntimeError("no more threads")

    monkeypatch.setattr("foundation.engine.run.LocalPool", broken)
    outcomes = by_slide(EmbedRun(stores, [colour()], tmp_path))
    assert {number: str(outcome.error) for number, outcome in outcomes.items()} == dict.fromkeys(
        range(3), "no more threads"
    )


def test_memory_of_this_machine_is_a_batch_that_does_not_fit() -> None:
    class Hungry(ColourEncoder):
        def encode(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise MemoryError(len(tiles))

    with pytest.raises(DeviceFullError):
        HostProgram(Hungry(SPEC)).submit(np.zeros((1, 64, 64, 3), np.uint8))
    assert CpuDevice().numbers(Hungry(SPEC)) == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from dataclasses import replace
from foundation import EmbedRun, list_encoders
from foundation.errors import DeviceFullError
from foundation.engine.simulated import ColourEncoder, SimulatedDevice
from tiling import TileStore
encoder = ColourEncoder(replace(list_encoders()[0], key="colour", dim=6, px=64, mpp=(1.0,)))
stores = [TileStore.open(Path(name)) for name in sys.argv[2:]]
for outcome in EmbedRun(stores, [encoder], Path(sys.argv[1]), devices=[SimulatedDevice(30, batch=8)]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_whole_stores_and_the_next_one_goes_on(stores: list[TileStore], tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), *(store.location for store in stores)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    (whole,) = tmp_path.glob("*.embeddings.zarr")
    assert not verify_manifest(whole)
    places = [Making(colour(), store.zooms).place(store.fingerprint, tmp_path) for store in stores]
    for place in {*places} - {whole}:
        (tmp_path / f".{place.name}.0123456789ab.staging").mkdir()  # of a run that was killed while it wrote
    again = by_slide(EmbedRun(stores, [colour()], tmp_path))
    assert [again[number].reused for number in range(3)] == [place == whole for place in places]  # any may be first
    assert all(outcome.error is None for outcome in again.values())
    assert left_behind(tmp_path) == []
