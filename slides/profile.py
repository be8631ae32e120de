"""Colours of a scanner to sRGB by the slide's ICC profile, where the caller asks for it.

Off by default: encoders and cut-offs were made on pixels as scanners store them, and most slides have no profile.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slides.info import Address

UNUSABLE = "the slide's colour profile cannot be used; its colours were left as they are"
ABSENT = "the slide has no colour profile; its colours were left as they are"


class ToSrgb:
    """A transform, made once a slide and used by all threads.

    Args:
        profile: The ICC profile.

    Raises:
        ValueError: If it is not a usable profile of RGB.
    """

    def __init__(self, profile: bytes) -> None:
        try:
            scanner = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            intent = ImageCms.Intent(ImageCms.getDefaultIntent(scanner))
            self._transform = ImageCms.buildTransform(scanner, ImageCms.createProfile("sRGB"), "RGB", "RGB", intent)
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            msg = "not a usable profile"
            raise ValueError(msg) from error

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert pixels.

        Args:
            pixels: RGB [H, W, 3] as the scanner stored them.

        Returns:
            sRGB [H, W, 3].
        """
        image = Image.fromarray(np.ascontiguousarray(pixels), "RGB")
        return np.asarray(ImageCms.applyTransform(image, self._transform), np.uint8)


def transform_of(address: Address, profile: bytes | None) -> tuple[ToSrgb | None, str, tuple[str, ...]]:
    """What to do with a slide's colours.

    Args:
        address: Says whether the caller wants sRGB.
        profile: The slide's ICC profile, if any.

    Returns:
        A transform or None; `none`, `ignored`, `applied` or `unusable` for `SlideInfo.icc`; warnings.
    """
    if not profile:
        return None, "none", (ABSENT,) if address.icc else ()
    if not address.icc:
        return None, "ignored", ()
    try:
        return ToSrgb(profile), "applied", ()
    except ValueError:
        return None, "unusable", (UNUSABLE,)
