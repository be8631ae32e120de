"""What is known of a slide without reading its pixels; holds no patient data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from slides.errors import MissingMppError
from slides.geometry import Region, Size
from slides.jail.spec import Jail
from slides.units import Mpp

REMOTE = ("s3://", "https://", "http://")
"""How addresses begin that are read by range requests."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a slide is and, if the caller knows better than the header, its scale.

    This is what travels between processes; an open slide never does.
    """

    location: str
    mpp0: Mpp | None = None
    """Scale of level 0 as the caller states it; it wins over the header."""
    decode: Literal["fast", "exact"] = "fast"
    """`fast` lets a decoder shrink while decoding, JPEG by 2, 4 or 8 and JPEG 2000 by 2, where the region lies on the
    pixels of the result; `exact` decodes in full and averages areas."""
    icc: bool = False
    """Convert the scanner's colours to sRGB by the slide's colour profile; encoders were trained without."""
    jail: Jail | None = None
    """Limits of a process of its own in which the slide is decoded; None decodes here, for slides one trusts."""

    @property
    def is_remote(self) -> bool:
        """Whether the slide lies in object storage or on a web server, so that `path` means nothing."""
        return self.location.startswith(REMOTE)

    @property
    def path(self) -> Path:
        """The address as a path of this machine."""
        return Path(self.location)

    @classmethod
    def of(cls, where: Address | str | Path, mpp0: Mpp | float | None = None) -> Address:
        """Make an address of a path.

        Args:
            where: A path, or an address that is returned with `mpp0` filled in.
            mpp0: Micrometres per pixel of level 0, or None to trust the header.

        Returns:
            The address, absolute for local paths so that it means the same in every process; URLs stay as they are.
        """
        if isinstance(where, Address):
            return where if mpp0 is None else dataclasses.replace(where, mpp0=Mpp.of(mpp0))
        location = str(where) if str(where).startswith(REMOTE) else str(Path(where).absolute())
        return cls(location, None if mpp0 is None else Mpp.of(mpp0))


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide."""

    size: Size
    downsample: float
    """Level-0 pixels for one pixel of this level."""


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """What is known of a slide; free of names, labels, barcodes and header text."""

    size: Size
    mpp: Mpp | None
    mpp_source: str
    """`caller`, `header`, `objective-power` or `none`."""
    format: str
    reader: str
    reader_reason: str
    levels: tuple[Level, ...]
    bounds: Region
    """The scanned part in level-0 pixels; smaller than the slide for some vendors (MRXS)."""
    objective_power: float | None
    content_hash: str
    """SHA-256, 64 hex digits, of the pixel data alone: the same for a copy without label and header. Of a slide at a
    remote address it is over what the store says of it, its tile index and a sample of tiles, as reading all of it
    would take as long as scoring it: it names the object as it was last written, and is not the hash of the file."""
    warnings: tuple[str, ...] = ()
    decode: str = "full"
    """`fast`: the reader may shrink while decoding; `exact`: the caller forbade it; `full`: it cannot."""
    icc: str = "none"
    """The slide's colour profile: `none`, `ignored` (the default), `applied` (pixels are sRGB) or `unusable`."""

    def require_mpp(self) -> Mpp:
        """The scale of level 0.

        Returns:
            Micrometres per pixel.

        Raises:
            MissingMppError: If the slide states none and the caller gave none.
        """
        if self.mpp is None:
            msg = "the slide states neither its pixel size nor its objective power; give the level-0 scale (--mpp0)"
            raise MissingMppError(msg)
        return self.mpp

    @property
    def pseudonym(self) -> str:
        """A name for outputs that says nothing of the patient."""
        return f"slide-{self.content_hash[:12]}"

    def to_json(self) -> dict[str, Any]:
        """A JSON document of all fields.

        Returns:
            `size` [width, height], `mpp` [x, y] or None, `levels` a list of objects, and the other fields by name.
        """
        document = dataclasses.asdict(self)
        document["size"] = [self.size.width, self.size.height]
        document["mpp"] = None if self.mpp is None else [self.mpp.x, self.mpp.y]
        document["bounds"] = [self.bounds.x, self.bounds.y, self.bounds.width, self.bounds.height]
        document["levels"] = [
            {"size": [level.size.width, level.size.height], "downsample": level.downsample} for level in self.levels
        ]
        document["warnings"] = list(self.warnings)
        return document

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> SlideInfo:
        """Read what `to_json` wrote.

        Args:
            document: The JSON document.

        Returns:
            The same slide information.
        """
        fields = dict(document)
        fields["size"] = Size(*document["size"])
        fields["mpp"] = None if document["mpp"] is None else Mpp(*document["mpp"])
        fields["bounds"] = Region(*document["bounds"])
        fields["levels"] = tuple(Level(Size(*level["size"]), level["downsample"]) for level in document["levels"])
        fields["warnings"] = tuple(document["warnings"])
        return cls(**fields)
