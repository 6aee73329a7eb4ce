"""What counts as whitespace on the network, how JSON is written on it, and how a foreign text is quoted in a message.

The network's other implementation trims by the Unicode property White_Space. Python's `str.strip()` and `str.split()`
also take the separators U+001C to U+001F, so they would accept texts that our neighbours refuse.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

WHITESPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
QUOTE_LIMIT_CHARACTERS: Final = 100

_words = re.compile(rf"[^{WHITESPACE}]+").findall


def compact(wire: object) -> str:
    """The JSON of a value, without spaces and with every character as it is."""
    return msgspec.json.encode(wire).decode()


def trim(text: str) -> str:
    """`text` without the whitespace at its ends."""
    return text.strip(WHITESPACE)


def rejoin(text: str) -> str:
    """The words of `text` with one space between them; what the network does to every command it reads."""
    return " ".join(_words(text))


def quote(text: str) -> str:
    """`text` as it may stand in a message: escaped, in quotes, and cut after QUOTE_LIMIT_CHARACTERS."""
    if len(text) <= QUOTE_LIMIT_CHARACTERS:
        return repr(text)
    return f"{text[:QUOTE_LIMIT_CHARACTERS]!r}… ({len(text)} characters)"
