"""How a value of the file becomes a field of a section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Field

from openportal.errors import ConfigError
from openportal.paddington.config.checks import (
    DEFAULT_ZONE,
    check_address,
    check_hex_key,
    check_moment,
    check_name,
    check_type,
    check_zone,
    web_url,
    websocket_url,
)
from openportal.paddington.ephemeral import KeyPair


def checked(check: Callable[[Any], Any], *wanted: type) -> BeforeValidator:
    """Pydantic's validator around a check of ours; other types are left for pydantic to refuse."""

    def validate(value: Any) -> Any:
        if not isinstance(value, wanted):
            return value
        try:
            return check(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    return BeforeValidator(validate)


def kept(check: Callable[[str], str]) -> Callable[[str], str]:
    """A check whose normal form is not wanted: the file's own spelling stays."""

    def unchanged(value: str) -> str:
        check(value)
        return value

    return unchanged


def _stored_key(value: Any) -> bytes:
    data = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(data, str):
        raise ConfigError("A key must be a table whose data is 64 hexadecimal digits.")
    return check_hex_key(data)


def _stored_pair(value: Any) -> KeyPair:
    if not isinstance(value, Mapping) or not {"inner_key", "outer_key"} <= set(value):
        raise ConfigError("A pair of keys must be a table with inner_key and outer_key.")
    return KeyPair(_stored_key(value["inner_key"]), _stored_key(value["outer_key"]))


KeyField: TypeAlias = Annotated[bytes, checked(_stored_key, dict, str)]
PairField: TypeAlias = Annotated[KeyPair, checked(_stored_pair, dict)]
MomentField: TypeAlias = Annotated[datetime | None, checked(check_moment, datetime, str)]
NameField: TypeAlias = Annotated[str, checked(check_name, str)]
ZoneField: TypeAlias = Annotated[str, checked(check_zone, str), Field(default=DEFAULT_ZONE)]
TypeField: TypeAlias = Annotated[str | None, checked(check_type, str)]
AddressField: TypeAlias = Annotated[str, checked(check_address, str)]
UrlField: TypeAlias = Annotated[str, checked(kept(websocket_url), str)]
WebUrlField: TypeAlias = Annotated[str, checked(kept(web_url), str)]
PortField: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=65535)]
