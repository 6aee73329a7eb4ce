"""How a handler's value becomes a job's result: JSON text and the name of its type on the wire."""

from __future__ import annotations

from typing import Any

import msgspec


def encode_result(value: object, declared: str) -> tuple[str | None, str]:
    """(JSON text, type) of a value; `declared` is the type that the instruction promises, None is always `None`."""
    if value is None:
        return None, "None"
    return msgspec.json.encode(_plain(value)).decode(), declared


def _plain(value: object) -> Any:
    """Identifiers and mappings print as text; containers keep their shape."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
