"""DICOM whole-slide images, a folder or one of its files, read frame by encoded frame.

TILED_FULL and TILED_SPARSE; JPEG, JPEG 2000 and uncompressed. What the frames hold is asked of their streams.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from slides.codestream import Codec
from slides.dicom_codec import codec_of
from slides.dicom_frames import unwrapped
from slides.dicom_instance import Instance
from slides.dicom_series import files_at, levels_at
from slides.errors import DamagedSlideError
from slides.geometry import Region
from slides.header import number, scale
from slides.identity import coding_of, file_identity
from slides.info import SlideInfo
from slides.layers import Layer, Place, decoded, levels_of
from slides.malformed import header_is_read
from slides.profile import transform_of
from slides.storage import LocalBytes
from slides.tiles import TiledSlide

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slides.info import Address
    from slides.storage import ByteSource


class FrameLayer(Layer):
    """A level whose tiles are the frames of one file, or of several that continue each other.

    Args:
        instances: The files.
        data: Their bytes.

    Raises:
        DamagedSlideError: If frames are missing.
    """

    def __init__(self, instances: Sequence[Instance], data: Sequence[ByteSource]) -> None:
        super().__init__(instances[0].size, instances[0].tile)
        self._data = data
        self._wrapped = instances[0].is_encapsulated
        self._spans = np.zeros((*self.shape, 3), np.int64)
        for file, (instance, source) in enumerate(zip(instances, data, strict=True)):
            row, col, offset, length = instance.frames(source).T
            self._spans[row, col] = np.stack([np.full_like(offset, file), offset, length], axis=1)
        known = np.argwhere(self._spans[..., 2] > 0)
        if not len(known) or (instances[0].is_full and len(known) < self._spans[..., 2].size):
            msg = "frames of the slide are missing"
            raise DamagedSlideError(msg)
        codec, self.warning = codec_of(instances[0].header, self._stream((known[0][0], known[0][1])))
        self._codec: Codec = codec
        self.shrinks, self.method = codec.shrinks, codec.method
        self.coding = coding_of(codec)

    def tiles(self, places: Sequence[Place], shrink: int) -> Iterator[NDArray[np.uint8] | None]:
        """Decoded frames in the order of their places.

        Args:
            places: Which.
            shrink: One of `shrinks`.

        Returns:
            RGB, or None for a place that no frame covers.
        """
        return decoded(self._codec, ((place, self._stream(place)) for place in places), self.tile, shrink)

    def content(self) -> Iterator[bytes | None]:
        """The frames as they are stored, in the order of their places.

        Yields:
            Bytes, or None for a place that no frame covers.
        """
        for row, col in np.ndindex(*self.shape):
            yield self._stream((row, col)) or None

    def _stream(self, place: Place) -> bytes:
        file, offset, length = (int(value) for value in self._spans[place])
        stream = self._data[file].read(offset, length)
        return unwrapped(stream) if self._wrapped else stream


class DicomReader(TiledSlide):
    """A DICOM whole-slide image.

    Args:
        address: Where it is: a folder, or any of its files.
        reason: Why this reader was chosen, for `oncoscope info`.
    """

    def __init__(self, address: Address, reason: str) -> None:
        self._files = ExitStack()
        with ExitStack() as undo, header_is_read():
            undo.callback(self._files.close)
            levels, warnings = levels_at(address.path)
            layers = [self._layer(instances) for instances in levels]
            super().__init__(layers, levels_of(layers), exact=address.decode == "exact")
            warnings += sorted({layer.warning for layer in layers if layer.warning})
            warnings += sorted({text for level in levels for text in level[0].warnings})
            profile = levels[0][0].optical("ICCProfile")
            self._colours, icc, about = transform_of(address, profile if isinstance(profile, bytes) else None)
            self.info = replace(self._describe(address, reason, levels[0], [*warnings, *about]), icc=icc)
            undo.pop_all()

    @staticmethod
    def detect(address: Address) -> str | None:
        """Whether DICOM whole-slide frames stand at the address.

        Args:
            address: Of a file or a folder.

        Returns:
            The reason to take it, or None.
        """
        if address.is_remote or not files_at(address.path):
            return None
        return "it is a DICOM whole-slide image, so its encoded frames are decoded directly"

    def close(self) -> None:
        """Release the files."""
        super().close()
        self._files.close()

    def _layer(self, instances: Sequence[Instance]) -> FrameLayer:
        """One level of the slide."""
        data = [LocalBytes(instance.path) for instance in instances]
        for source in data:
            self._files.callback(source.close)
        return FrameLayer(instances, data)

    def _describe(
        self, address: Address, reason: str, finest: Sequence[Instance], warnings: Sequence[str]
    ) -> SlideInfo:
        size = self._layers[0].size
        properties = {"openslide.objective-power": str(finest[0].optical("ObjectiveLensPower") or "")}
        spacing = finest[0].spacing_um
        if spacing is not None:
            properties |= {"openslide.mpp-x": repr(spacing[0]), "openslide.mpp-y": repr(spacing[1])}
        mpp, mpp_source, about_scale = scale(address, properties)
        identity = tuple(part for instance in finest for part in file_identity(instance.path))
        return SlideInfo(
            size=size,
            mpp=mpp,
            mpp_source=mpp_source,
            format="dicom",
            reader="dicom",
            reader_reason=reason,
            levels=levels_of(self._layers),
            bounds=Region.whole(size),
            objective_power=number(properties["openslide.objective-power"]),
            content_hash=self._layers[0].identify(identity),
            warnings=(*about_scale, *warnings),
            decode=self.decode_of(address),
        )
