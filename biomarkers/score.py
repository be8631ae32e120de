"""The score: one frozen value that says what was found, whether it may be trusted, and where it came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from biomarkers.card import NOTICE
from biomarkers.errors import ResultError


@dataclass(frozen=True)
class Gate:
    """One condition that a slide must meet."""

    name: str
    value: float
    limit: float
    """The least value that passes."""
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value reaches the limit."""
        return self.value >= self.limit

    def to_json(self) -> dict[str, object]:
        """A JSON document.

        Returns:
            `name`, `value`, `limit`, `unit`, `passed`.
        """
        return {"name": self.name, "value": self.value, "limit": self.limit, "unit": self.unit, "passed": self.passed}


@dataclass(frozen=True)
class Score:
    """What one biomarker says about one slide. Every field but `gates` is a JSON value."""

    score: float
    category: str
    biomarker: Mapping[str, object]
    """`name`, `version`, `title`, `demonstration`."""
    slide: Mapping[str, object]
    """`id` (a pseudonym), `content_hash`, `size` [width, height] px, `mpp` [x, y] um/px, `mpp_source`, `format`,
    `reader`, `warnings`."""
    tiles: Mapping[str, int]
    """Zoom in um/px (as text) -> how many tiles were judged."""
    gates: tuple[Gate, ...]
    measures: Mapping[str, object]
    """What the kind of biomarker measures; see `biomarkers.composition.measure`."""
    seconds: float
    """How long it took, waiting included."""
    provenance: Mapping[str, object]
    """Fingerprints `slide` -> `tiles` -> `embeddings` (`encoder`) -> `head` -> `score`; `card`, `request`,
    `created`, `versions`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What -> file name, relative to the folder of the result."""
    notice: str = NOTICE

    @property
    def warnings(self) -> list[str]:
        """What is odd about the slide, a sentence each."""
        found = self.slide.get("warnings")
        return [str(warning) for warning in found] if isinstance(found, Sequence) else []

    def to_json(self) -> dict[str, object]:
        """A JSON document of all fields.

        Returns:
            Field name -> JSON value; `from_json` reads it.
        """
        document: dict[str, object] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        document["gates"] = [gate.to_json() for gate in self.gates]
        return {key: dict(value) if isinstance(value, Mapping) else value for key, value in document.items()}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Score:
        """Read what `to_json` wrote.

        Args:
            document: The JSON document.

        Returns:
            The same score.

        Raises:
            ResultError: If a field is missing, unknown, or not what it should be.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if known != set(document):
            odd = ", ".join(sorted(known ^ set(document)))
            raise ResultError(f"the stored result does not have the fields of a score: {odd}")
        gates = document["gates"]
        try:
            fields = dict(document) | {"gates": tuple(_gate(gate) for gate in gates), "score": float(document["score"])}  # type: ignore[attr-defined, arg-type]
        except (TypeError, ValueError, KeyError) as error:
            raise ResultError("the stored result is damaged: a field of it has the wrong type") from error
        return cls(**fields)  # type: ignore[arg-type]


def _gate(document: Mapping[str, object]) -> Gate:
    return Gate(str(document["name"]), float(document["value"]), float(document["limit"]), str(document["unit"]))  # type: ignore[arg-type]
