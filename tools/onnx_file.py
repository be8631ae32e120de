"""The smallest network that a user could bring: an ONNX file without the library that writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def field(number: int, value: bytes | int) -> bytes:
    """One field of a protobuf message.

    Args:
        number: Of the field.
        value: A number, or the bytes of a text or message.

    Returns:
        Its bytes.
    """

    def varint(plain: int) -> bytes:
        head = b""
        while plain > 127:
            head, plain = head + bytes([plain & 127 | 128]), plain >> 7
        return head + bytes([plain])

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor_type(name: bytes, channels: int, side: int) -> bytes:
    """A graph's input or output, float32 [1, channels, side, side].

    Args:
        name: Of the tensor.
        channels: How many.
        side: Height and width.

    Returns:
        Bytes of a ValueInfoProto.
    """
    shape = b"".join(field(1, field(1, size)) for size in (1, channels, side, side))
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def network(path: Path, weights: NDArray[np.floating], bias: NDArray[np.floating], side: int) -> Path:
    """Write an ONNX file of one 1 x 1 convolution; field numbers are those of onnx.proto.

    Args:
        path: The file.
        weights: Of red, green and blue in 0..1, [outputs, 3].
        bias: Added, [outputs].
        side: Height and width of input and output.

    Returns:
        `path`.
    """

    def tensor(name: bytes, values: NDArray[np.floating]) -> bytes:
        dims = b"".join(field(1, size) for size in values.shape)
        return dims + field(2, 1) + field(8, name) + field(9, values.astype("<f4").tobytes())

    kernel = field(1, b"kernel_shape") + field(8, 1) + field(8, 1) + field(20, 7)
    conv = field(1, b"x") + field(1, b"w") + field(1, b"b") + field(2, b"y") + field(4, b"Conv") + field(5, kernel)
    graph = (
        field(1, conv)
        + field(2, b"tissue")
        + field(5, tensor(b"w", weights[:, :, None, None]))
        + field(5, tensor(b"b", bias))
        + field(11, tensor_type(b"x", 3, side))
        + field(12, tensor_type(b"y", len(weights), side))
    )
    path.write_bytes(field(1, 8) + field(8, field(1, b"") + field(2, 13)) + field(7, graph))
    return path
