"""Read the tables of `registry.toml` strictly: what is unknown, missing, of another kind or impossible is an error."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Container, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Final, TypeVar, cast

from foundation.errors import RegistryError
from foundation.slide_spec import COORDS, SlideEncoderSpec
from foundation.spec import POOLINGS, PRECISIONS, EncoderSpec

STATED: Final = frozenset({"pooling", "licence_source"})
"""A row of ours says these, although an encoder of the user's need not."""
SCHEMES: Final = ("wheel:", "own:", "hf:", "url:", "package:", "builtin")
KINDS: Final = frozenset({"encoder", "slide_encoder"})
INTERPOLATIONS: Final = ("nearest", "bilinear", "bicubic")
KWARGS: Final[Mapping[str, type | tuple[str, ...]]] = {
    "img_size": int,
    "patch_size": int,
    "embed_dim": int,
    "depth": int,
    "num_heads": int,
    "reg_tokens": int,
    "mlp_ratio": float,
    "init_values": float,
    "no_embed_class": bool,
    "dynamic_img_size": bool,
    "mlp_layer": ("SwiGLUPacked",),
    "act_layer": ("SiLU",),
    "embed_layer": ("ConvStem",),
    "norm_layer": ("LayerNorm1e-12",),
}
"""What an architecture may be built with. Strings name layers that the loaders know; nothing is imported by name."""
TEXT: Final[Mapping[str, type | tuple[str, ...]]] = {
    "context": int,
    "tokenizer": ("CLIP", "PubMedBERT", "XLM-R", "SentencePiece", "own"),
}
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {"str": (str,), "int": (int,), "bool": (bool,), "float": (int, float)}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
Row = TypeVar("Row")


def read_document(text: str) -> dict[str, Any]:
    """Read a document that holds arrays of tables and a table of normalisations.

    Args:
        text: TOML.

    Returns:
        The document, with `norm` of each row replaced by `mean` and `std`.

    Raises:
        RegistryError: If the text is not TOML or holds anything else.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"The table of encoders is not TOML: {error}.") from error
    norms = document.pop("norm", {})
    whole = set(document) <= KINDS and all(_is_rows(rows) for rows in document.values()) and isinstance(norms, dict)
    if not whole:
        raise RegistryError("The table of encoders holds [[encoder]] and [[slide_encoder]] tables and nothing else.")
    return {kind: [_normalised(row, norms) for row in rows] for kind, rows in document.items()}


def _is_rows(rows: object) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) for row in rows)


def _normalised(row: dict[str, Any], norms: dict[str, Any]) -> dict[str, Any]:
    if "norm" not in row:
        return row
    norm = norms.get(row["norm"]) if isinstance(row["norm"], str) else None
    if not isinstance(norm, dict) or set(norm) != {"mean", "std"} or {"mean", "std"} & set(row):
        raise RegistryError(f"Encoder {row.get('key', '?')!r} of the table is not well formed at: norm.")
    return {name: value for name, value in row.items() if name != "norm"} | norm


def read_rows(kind: type[Row], rows: list[dict[str, Any]], stated: frozenset[str] = frozenset()) -> tuple[Row, ...]:
    """Make one dataclass of each row.

    Args:
        kind: The dataclass.
        rows: Tables of the document.
        stated: Fields that must be given although the dataclass has a default.

    Returns:
        As many as there are rows, in their order.

    Raises:
        RegistryError: If a field is unknown, missing or of another kind, or a key stands twice.
    """
    found = tuple(_row(kind, row, stated) for row in rows)
    if len({cast("Any", row).key for row in found}) != len(found):
        raise RegistryError("Two encoders of the table have the same key.")
    return found


def _row(kind: type[Row], row: dict[str, Any], stated: frozenset[str]) -> Row:
    known = {field.name: field for field in fields(cast("Any", kind))}
    needed = {name for name, field in known.items() if _is_needed(field)} | stated
    wrong = (set(row) - set(known)) | (needed - set(row))
    wrong |= {name for name in set(row) & set(known) if not _fits(row[name], str(known[name].type))}
    require(row.get("key", "?"), wrong)
    return kind(**{name: _frozen(value, str(known[name].type)) for name, value in row.items()})


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _fits(value: object, kind: str) -> bool:
    """Whether a TOML value is of the kind that a field wants."""
    single = kind.removesuffix(" | None")
    if single in _KINDS:
        return type(value) in _KINDS[single]
    if kind.startswith("dict"):
        return isinstance(value, dict)
    wanted = _KINDS["str"] if kind == "tuple[str, ...]" else _KINDS["float"]
    return (
        isinstance(value, list)
        and all(type(item) in wanted for item in value)
        and (kind != "Triple" or len(value) == 3)
    )


def _frozen(value: object, kind: str) -> object:
    # One number in two spellings would give two digests.
    if isinstance(value, list):
        return tuple(value if kind == "tuple[str, ...]" else map(float, value))
    return float(cast("float", value)) if kind.startswith("float") else value


def require(key: str, wrong: set[str]) -> None:
    """Refuse a row.

    Args:
        key: Of the row.
        wrong: Fields that are not as they should be.

    Raises:
        RegistryError: If there are any.
    """
    if wrong:
        raise RegistryError(f"Encoder {key!r} of the table is not well formed at: {', '.join(sorted(wrong))}.")


def require_possible(spec: EncoderSpec) -> None:
    """Refuse an encoder whose fields contradict each other or name what nobody knows.

    Args:
        spec: As it was read.
    """
    digest = spec.weights_sha256
    checks = {
        "pooling": spec.pooling in POOLINGS,
        "precision": spec.precision in PRECISIONS,
        "interpolation": spec.interpolation in INTERPOLATIONS,
        "source": spec.source.startswith(SCHEMES),
        "weights_sha256": digest is None or _DIGEST.fullmatch(digest) is not None,
        "kwargs": _are_known(spec.kwargs, KWARGS),
        "text": _are_known(spec.text, TEXT),
        "mpp": all(mpp > 0 for mpp in spec.mpp),
        "mpp_source": bool(spec.mpp_source) == bool(spec.mpp),
        "field_um": spec.field_um is None or len(spec.mpp) == 1,
        "std": all(value > 0 for value in spec.std),
    }
    wrong = {name for name, good in checks.items() if not good}
    if not wrong and spec.px != (spec.crop or spec.resize or spec.tile_px):
        wrong = {"px"}
    require(spec.key, wrong)


def require_sound(spec: SlideEncoderSpec, tile_encoders: Container[str]) -> None:
    """Refuse a slide encoder whose fields contradict each other or name what nobody knows.

    Args:
        spec: As it was read.
        tile_encoders: Keys of the encoders of the table.
    """
    digest = spec.weights_sha256
    checks = {
        "source": spec.source.startswith(SCHEMES),
        "weights_sha256": digest is None or _DIGEST.fullmatch(digest) is not None,
        "tile_encoders": all(key in tile_encoders for key in spec.tile_encoders),
        "tile_columns": not spec.tile_columns or spec.tile_columns < spec.tile_dim,
        "mpp": all(mpp > 0 for mpp in spec.mpp),
        "coords": spec.coords in COORDS,
    }
    require(spec.key, {name for name, good in checks.items() if not good})


def _are_known(given: Mapping[str, object], known: Mapping[str, type | tuple[str, ...]]) -> bool:
    return all(name in known and _is_one_of(value, known[name]) for name, value in given.items())


def _is_one_of(value: object, kind: type | tuple[str, ...]) -> bool:
    return value in kind if isinstance(kind, tuple) else type(value) is kind
