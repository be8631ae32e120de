"""A tissue segmenter that users bring: a network in an ONNX file, run by OpenCV."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from tiling.errors import SegmenterError
from tiling.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST_SIDE = 4096
LARGEST_FACTOR, LARGEST_IMAGE = 64.0, 1 << 28
"""How much an image is enlarged or shrunk at most, and the pixels it may have then: some 2 GB with their scores."""
LARGEST_SCORE = 1e9
LARGEST_FILE = 1 << 30
"""Bytes of a network file; a tissue segmenter has some ten to a hundred million."""


class OnnxSegmenter:
    """A network that the user supplies as an ONNX file, run by OpenCV on the CPU.

    The file's contract: one input, RGB float32 [1, 3, side, side] in 0..1; one output of the same height and width,
    [1, 1, side, side] (tissue) or [1, 2, side, side] (glass, tissue; the larger wins). Larger images are cut into
    overlapping squares, smaller ones are filled up with white. The weights lie inside the file.

    Args:
        path: The file.
        mpp: Scale the network was trained at, in um/px; None takes thumbnails as they are.
        side: Side of the squares in pixels.
        overlap: Pixels that neighbouring squares share; half of it is thrown away on each side.
        output: What a single output channel is: `probability` (tissue from 0.5) or `logit` (tissue from 0).

    Raises:
        SegmenterError: If the file is no network that can be run, or the sizes make no sense.
    """

    name = "onnx"

    def __init__(
        self,
        path: Path,
        mpp: float | None = None,
        *,
        side: int = 512,
        overlap: int = 64,
        output: Literal["probability", "logit"] = "probability",
    ) -> None:
        if not 0 <= overlap < side <= LARGEST_SIDE or overlap % 2 or (mpp is not None and not mpp > 0):
            raise SegmenterError("the squares of a segmenter need a side, a smaller even overlap and a positive scale")
        self.mpp, self.side, self.overlap, self.output = mpp, side, overlap, output
        weights, self._net = _load(path)
        self.weights_digest = hashlib.sha256(weights).hexdigest()
        self._lock = threading.Lock()
        self._run(np.full((side, side, 3), 255, np.uint8))  # a network of another contract is refused here, not later

    @property
    def digest(self) -> str:
        """Digest of the weights (`weights_digest`, SHA-256 of the file) and of how they are used."""
        how = {"mpp": self.mpp, "side": self.side, "overlap": self.overlap, "output": self.output}
        return fingerprint(segmenter=self.name, weights=self.weights_digest, **how)

    def __call__(self, image: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
        """Find tissue; see `Segmenter`.

        Args:
            image: RGB [h, w, 3].
            mpp: Its scale in um/px.

        Returns:
            [h, w], True where tissue is.
        """
        height, width = image.shape[:2]
        scaled = self._scaled(image, 1.0 if self.mpp is None else mpp / self.mpp)
        score = np.empty(scaled.shape[:2], np.float32)
        for rows, cols, inner in self._squares(*scaled.shape[:2]):
            square = np.full((self.side, self.side, 3), 255, np.uint8)
            part = np.asarray(scaled[rows, cols])
            square[: part.shape[0], : part.shape[1]] = part
            found = self._run(square)[: part.shape[0], : part.shape[1]]
            score[rows, cols][inner] = found[inner]
        return np.asarray(cv2.resize(score, (width, height), interpolation=cv2.INTER_LINEAR) >= 0, np.bool_)

    def _scaled(self, image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
        """An image at the scale of the network.

        Raises:
            SegmenterError: If that is too far from the image's own.
        """
        height, width = image.shape[:2]
        if not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR or height * width * factor**2 > LARGEST_IMAGE:
            raise SegmenterError("the scale of the segmenter is too far from that of the image, or the image too large")
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        try:
            return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
        except cv2.error as error:
            raise SegmenterError("the image cannot be brought to the scale of the segmenter") from error

    def _squares(self, height: int, width: int) -> Iterator[tuple[slice, slice, tuple[slice, slice]]]:
        """Rows and columns of each square, and the part of it that is kept."""
        step, trim = self.side - self.overlap, self.overlap // 2
        for top in range(0, max(1, height - self.overlap), step):
            for left in range(0, max(1, width - self.overlap), step):
                rows, cols = slice(top, min(top + self.side, height)), slice(left, min(left + self.side, width))
                yield rows, cols, (slice(trim if top else 0, None), slice(trim if left else 0, None))

    def _run(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Score of each pixel of a square, tissue from 0.

        Raises:
            SegmenterError: If the network fails, or its output has another shape or is not finite.
        """
        blob = np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        try:
            with self._lock:  # a network of OpenCV serves one caller at a time
                self._net.setInput(blob)
                found: Any = self._net.forward()
        except cv2.error as error:
            raise SegmenterError("the network of the segmenter cannot be run on an image") from error
        if np.shape(found) not in {(1, channels, self.side, self.side) for channels in (1, 2)}:
            raise SegmenterError("the segmenter's output is not one or two values for each pixel of its input")
        if not (np.abs(found) < LARGEST_SCORE).all():  # OpenCV turns what is not finite into the largest float
            raise SegmenterError("the segmenter's output is not finite")
        if found.shape[1] == 2:
            return np.asarray(found[0, 1] - found[0, 0], np.float32)
        return np.asarray(found[0, 0] - (0.5 if self.output == "probability" else 0.0), np.float32)


def _load(path: Path) -> tuple[bytes, Any]:
    """Bytes and network of a file.

    Raises:
        SegmenterError: If the file cannot be read or is no network.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SegmenterError("the segmenter's file is too large")
        weights = path.read_bytes()
    except OSError as error:
        raise SegmenterError("the segmenter's file cannot be read") from error
    try:
        net = cv2.dnn.readNetFromONNX(np.frombuffer(weights, np.uint8))
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    except cv2.error as error:
        raise SegmenterError("the segmenter's file is not an ONNX network that OpenCV can run") from error
    return weights, net
