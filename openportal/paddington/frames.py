"""Whole websocket frames, made and measured; everything odd is left to the protocol objects of `websockets`."""

from __future__ import annotations

import struct

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

__all__ = ["MASKED", "MASK_BYTES", "WHOLE", "apply_mask", "extent", "text_frame"]

MASK_BYTES = 4
MASKED = 0x80

_FIN_TEXT = 0x81
WHOLE = bytes((_FIN_TEXT, 0x82))  # first bytes of a whole message; a peer may call its text binary
_SHORT_MAX = 125
_TWO_BYTES = 126
_MEDIUM_MAX = 0xFFFF
_EIGHT_BYTES = 127


def text_frame(payload: bytes, mask: bytes) -> bytes:
    """A whole websocket text frame; `mask` is empty on the listening side, four random bytes on the dialling side."""
    size, flag = len(payload), MASKED if mask else 0
    if size <= _SHORT_MAX:
        head = struct.pack("!BB", _FIN_TEXT, flag | size)
    elif size <= _MEDIUM_MAX:
        head = struct.pack("!BBH", _FIN_TEXT, flag | _TWO_BYTES, size)
    else:
        head = struct.pack("!BBQ", _FIN_TEXT, flag | _EIGHT_BYTES, size)
    return b"".join((head, mask, apply_mask(payload, mask))) if mask else head + payload


def extent(data: bytes, at: int) -> tuple[int, int]:
    """Sizes of the header and the payload of the websocket frame at `at`; (0, 0) when the header is not all there."""
    end = len(data)
    if end - at < 2:
        return 0, 0
    second = data[at + 1]
    head, size = 2, second & 0x7F
    if size == _TWO_BYTES:
        head, size = 4, int.from_bytes(data[at + 2 : at + 4])
    elif size == _EIGHT_BYTES:
        head, size = 10, int.from_bytes(data[at + 2 : at + 10])
    if second & MASKED:
        head += MASK_BYTES
    return (head, size) if end - at >= head else (0, 0)
