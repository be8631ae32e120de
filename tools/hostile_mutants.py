"""Break small slides in the ways that break readers: field by field in a TIFF, key by key in a text index, bit by bit.

The same folder and seed give the same mutant. What a mutant is made of is a good slide of `hostile_containers`.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from slides.tiff_header import MAGICS, WIDTHS

NUMBERS: Final = (0, 1, 2, 3, 7, 8, 255, 256, 4095, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
"""Where readers that count in C go wrong."""
TELLING: Final = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 330, 347, 530, 33003)
"""Tags on which decoders depend: sizes, samples, compression, tables."""
MARKERS: Final = (
    b"\xff\xc0",
    b"\xff\xc4",
    b"\xff\xdb",
    b"\xff\xda",
    b"\xff\x51",
    b"\xff\x52",
    b"\xff\x5c",
    b"\xff\x90",
)
"""Segments of JPEG (frame, codes, scales, scan) and of JPEG 2000 (size, coding, scales, tile part)."""
Recipe = Callable[[bytearray, random.Random], bytearray]


@dataclass(frozen=True)
class Field:
    """One row of a TIFF directory."""

    at: int
    """Offset of the row."""
    tag: int
    values: int
    """Offset of its values."""
    length: int
    """Bytes of its values, at most what the file has."""
    link: int
    """Offset of the pointer from its directory to the next."""


def mutate(folder: Path, seed: int) -> str:
    """Break one file of a slide.

    Args:
        folder: Holds one slide and nothing else; a file in it is overwritten.
        seed: Which mutant.

    Returns:
        What was done, for people.
    """
    chance = random.Random(seed)  # noqa: S311 - mutants should come again
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = chance.choice(files)
    data = bytearray(path.read_bytes())
    recipes = _recipes(data, path)
    names = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        recipe = chance.choice(recipes)
        data = recipe(data, chance)
        names.append(recipe.__name__)
    path.write_bytes(data)
    return f"{path.suffix}: {', '.join(names)}"


def _recipes(data: bytearray, path: Path) -> list[Recipe]:
    """What can be done to a file of this kind; what is likelier to be interesting stands there twice."""
    if bytes(data[:4]) in MAGICS:
        fields: list[Recipe] = [field_value, field_value, field_row, next_directory, table_element, table_element]
        return [*fields, description, segment, cut, flip, block]
    if path.suffix in {".ini", ".vms"}:
        return [text_number, text_number, text_line, text_word, cut, flip]
    if bytes(data[128:132]) == b"DICM":
        return [element, element, element, segment, cut, flip, block]
    return [word, word, segment, cut, flip, block]


def fields_of(data: bytearray) -> list[Field]:
    """All rows of all directories that can be reached.

    Args:
        data: A TIFF.

    Returns:
        The rows; empty where an earlier mutation broke the chain.
    """
    order, big = MAGICS[bytes(data[:4])]
    row, count_form, offset_form, inline = (20, "Q", "Q", 8) if big else (12, "H", "I", 4)
    found: list[Field] = []
    try:
        (offset,) = struct.unpack_from(order + offset_form, data, 8 if big else 4)
        for _ in range(16):
            (count,) = struct.unpack_from(order + count_form, data, offset)
            start = offset + struct.calcsize(count_form)
            link = start + row * count
            for at in range(start, start + row * min(count, 64), row):
                tag, kind, number = struct.unpack_from(f"{order}HH{offset_form}", data, at)
                length = number * WIDTHS.get(kind, 1)
                place = at + row - inline
                values = place if length <= inline else struct.unpack_from(order + offset_form, data, place)[0]
                found.append(Field(at, tag, values, max(0, min(length, len(data) - values)), link))
            (offset,) = struct.unpack_from(order + offset_form, data, link)
            if not offset:
                break
    except (struct.error, OverflowError):
        pass
    return found


def _order(data: bytearray) -> tuple[str, bool]:
    return MAGICS.get(bytes(data[:4]), ("<", False))


def _put(data: bytearray, form: str, at: int, value: int) -> None:
    """Overwrite a number, if it lies in the file."""
    size = struct.calcsize(form)
    if 0 <= at <= len(data) - size:
        struct.pack_into(form, data, at, value % (1 << 8 * size))


def _field(data: bytearray, chance: random.Random) -> Field | None:
    fields = fields_of(data) if bytes(data[:4]) in MAGICS else []
    telling = [field for field in fields if field.tag in TELLING]
    return chance.choice(telling if telling and chance.random() < 0.7 else fields) if fields else None


def _number(data: bytearray, chance: random.Random) -> int:
    return chance.choice((*NUMBERS, len(data), len(data) - 1, chance.randrange(1 << 16), chance.randrange(1 << 32)))


def field_value(data: bytearray, chance: random.Random) -> bytearray:
    """Another value in a field."""
    field, (order, _) = _field(data, chance), _order(data)
    if field is not None:
        _put(data, order + chance.choice("HI"), field.values, _number(data, chance))
    return data


def field_row(data: bytearray, chance: random.Random) -> bytearray:
    """Another tag, type or count; or a row twice."""
    field, other, (order, big) = _field(data, chance), _field(data, chance), _order(data)
    if field is not None and other is not None:
        what = chance.randrange(4)
        if what == 3:
            size = 20 if big else 12
            data[field.at : field.at + size] = data[other.at : other.at + size]
        else:
            form = ("H", "H", "Q" if big else "I")[what]
            value = chance.choice(TELLING) if what == 0 else chance.randrange(20) if what == 1 else None
            _put(data, order + form, field.at + 2 * what, _number(data, chance) if value is None else value)
    return data


def next_directory(data: bytearray, chance: random.Random) -> bytearray:
    """The chain of directories goes elsewhere."""
    field, (order, big) = _field(data, chance), _order(data)
    if field is not None:
        target = chance.choice((0, field.at - 2, len(data), len(data) - 2, _number(data, chance)))
        _put(data, order + ("Q" if big else "I"), field.link, target)
    return data


def table_element(data: bytearray, chance: random.Random) -> bytearray:
    """One entry of the tables that say where the tiles are."""
    tables = [f for f in fields_of(data) if f.tag in {273, 279, 324, 325, 330}] if bytes(data[:4]) in MAGICS else []
    if tables:
        field, (order, _) = chance.choice(tables), _order(data)
        at = field.values + 4 * chance.randrange(max(1, field.length // 4))
        _put(data, order + "I", at, _number(data, chance))
    return data


def description(data: bytearray, chance: random.Random) -> bytearray:
    """Other numbers in the free text."""
    texts = [f for f in fields_of(data) if f.tag in {270, 700} and f.length] if bytes(data[:4]) in MAGICS else []
    if texts:
        field = chance.choice(texts)
        text = bytes(data[field.values : field.values + field.length])
        digits = [match.start() for match in re.finditer(rb"\d", text)] or [0]
        at = field.values + chance.choice(digits)
        data[at : at + 1] = chance.choice((b"9", b"0", b"-", b"<", b"\x00", b"\xff", b"&", b'"'))
    return data


def segment(data: bytearray, chance: random.Random) -> bytearray:
    """A length or size inside a compressed tile."""
    places = [match.start() for marker in MARKERS for match in re.finditer(re.escape(marker), bytes(data))]
    if places:
        _put(data, ">H", chance.choice(places) + chance.randrange(2, 24), _number(data, chance))
    return data


def element(data: bytearray, chance: random.Random) -> bytearray:
    """A tag, length or value of a DICOM element before the pixels."""
    end = max(140, data.find(b"\xe0\x7f\x10\x00"))
    _put(data, chance.choice(("<H", "<I")), chance.randrange(132, end, 2), _number(data, chance))
    return data


def word(data: bytearray, chance: random.Random) -> bytearray:
    """Any number of a binary index."""
    if len(data) >= 4:
        _put(data, "<i" if chance.random() < 0.8 else ">H", chance.randrange(len(data)), _number(data, chance) >> 1)
    return data


def text_number(data: bytearray, chance: random.Random) -> bytearray:
    """A number of a text index."""
    places = list(re.finditer(rb"=\s*-?\d+", bytes(data)))
    if places:
        match = chance.choice(places)
        value = chance.choice((-1, -(2**31), 2**63, 10**30, _number(data, chance)))
        data[match.start() : match.end()] = b"=%d" % value
    return data


def text_line(data: bytearray, chance: random.Random) -> bytearray:
    """A line gone, doubled, or somewhere else."""
    lines = bytes(data).split(b"\n")
    at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
    line = lines[at] if chance.random() < 0.5 else lines.pop(at)
    if chance.random() < 0.7:
        lines.insert(to, line)
    return bytearray(b"\n".join(lines))


def text_word(data: bytearray, chance: random.Random) -> bytearray:
    """Something else behind a key."""
    words = (b"", b"../../etc/passwd", b"slide.vms", b".", b"x" * 5000, b"\xff\xfe", b"nan", b"1e308", b"%s%n", b"[")
    places = list(re.finditer(rb"=[^\n]*", bytes(data)))
    if places:
        match = chance.choice(places)
        data[match.start() : match.end()] = b"=" + chance.choice(words)
    return data


def cut(data: bytearray, chance: random.Random) -> bytearray:
    """The end is missing."""
    return data[: chance.choice((chance.randrange(len(data) + 1), max(0, len(data) - chance.randrange(1, 64))))]


def flip(data: bytearray, chance: random.Random) -> bytearray:
    """Single bits."""
    for _ in range(chance.choice((1, 4, 64)) if data else 0):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def block(data: bytearray, chance: random.Random) -> bytearray:
    """A stretch of zeros, of ones, or of another part of the file."""
    if data:
        at, length = chance.randrange(len(data)), chance.randrange(1, 4096)
        start = chance.randrange(len(data))
        fill = chance.choice((bytes(length), b"\xff" * length, bytes(data[start : start + length])))
        data[at : at + length] = fill[: len(data) - at]
    return data
