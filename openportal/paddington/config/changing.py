"""A file is changed in one step, or not at all, and what is not meant stays as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from openportal.errors import ConfigError
from openportal.paddington.config.reading import parse, parse_toml, place
from openportal.paddington.config.sections import AgentConfig
from openportal.paddington.files import exclusive, read_text, write_private


@contextmanager
def edit(path: str | Path) -> Iterator[tuple[tomlkit.TOMLDocument, AgentConfig]]:
    """Change a file: yields its document and what it means now; on a clean exit the result is checked and written.

    Everything the caller does not touch, comments included, is kept. The file is replaced in one step, and not at all
    when the result would not load.
    """
    where = place(path, follow=True)
    with exclusive(where.parent):
        text = read_text(where)
        config = parse(text, where)
        try:
            document = tomlkit.parse(text)
        except (TOMLKitError, ValueError, RecursionError):
            raise ConfigError(f"{where} cannot be changed by this command; edit it by hand.") from None
        try:
            yield document, config
        except (TOMLKitError, ValueError):
            raise ConfigError(f"{where} cannot be changed by this command; edit it by hand.") from None
        write_private(where, checked_text(document, where).encode())


def checked_text(document: tomlkit.TOMLDocument, path: Path) -> str:
    """The text of a document, if it says what the document holds and loads as a configuration."""
    text = tomlkit.dumps(document)
    if parse_toml(text, path) != document.unwrap():
        raise ConfigError(f"{path} cannot be changed by this command without damage; edit it by hand.")
    parse(text, path)
    return text
