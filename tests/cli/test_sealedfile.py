"""A sealed file: opened whole by whoever has its key, and by nobody else; what was done to it is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
from nacl.public import PrivateKey, SealedBox

from openportal.cli.sealedfile import (
    CHUNK_BYTES,
    MORE_BYTES,
    Opening,
    Sealing,
    key_for,
    make_private_key,
    opened_key,
    private_key,
    public_key,
    read_sealed_key,
)
from openportal.errors import SecretError

OPERATOR = PrivateKey(b"\1" * 32)
HOST = PrivateKey(b"\2" * 32)
CONTENT = bytes(range(256)) * 10_000  # two chunks and a part of one


def sealed(folder: Path, content: bytes = CONTENT) -> Path:
    file = folder / "sealed"
    with file.open("wb") as out, Sealing(out, OPERATOR.public_key) as sealing:
        for start in range(0, len(content), 100_000):
            sealing.write(content[start : start + 100_000])
    return file


def opened(file: Path) -> bytes:
    with file.open("rb") as sealed:
        key = opened_key(read_sealed_key(sealed, file), OPERATOR, file)
        sealed.seek(0)
        opening = Opening(sealed, key, file)
        found = b"".join(iter(lambda: opening.read(70_000), b""))
        opening.finish()
    return found


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, len(CONTENT)])
def test_what_was_sealed_comes_out(tmp_path: Path, size: int) -> None:
    file = sealed(tmp_path, CONTENT[:size])
    assert opened(file) == CONTENT[:size]
    assert size < 32 or CONTENT[:32] not in file.read_bytes()


def test_another_key_does_not_open_it(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="was sealed for another key"):
        key_for(sealed(tmp_path), HOST, HOST.public_key)


def test_the_key_of_one_file_is_handed_on(tmp_path: Path) -> None:
    file = sealed(tmp_path)
    key = SealedBox(HOST).decrypt(bytes.fromhex(key_for(file, OPERATOR, HOST.public_key)))
    with file.open("rb") as open_file:
        assert Opening(open_file, key, file).read(300) == CONTENT[:300]
    (tmp_path / "other").mkdir()
    other = sealed(tmp_path / "other")
    with other.open("rb") as open_file, pytest.raises(SecretError, match="this is not its key"):
        Opening(open_file, key, other).read(300)


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    file = sealed(tmp_path)
    whole = file.read_bytes()
    start = len(whole) - len(CONTENT) - 3 * MORE_BYTES
    first, second = (whole[at : at + CHUNK_BYTES + MORE_BYTES] for at in (start, start + CHUNK_BYTES + MORE_BYTES))
    broken = {
        "cut between two chunks": whole[: start + len(first)],
        "cut within one": whole[:-1],
        "no chunk at all": whole[:start],
        "swapped": whole[:start] + second + first + whole[start + 2 * len(first) :],
        "one left out": whole[:start] + second + whole[start + 2 * len(first) :],
        "goes on": whole + b"x",
        **{f"a bit at {at}": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, 200, 7)},
    }
    for what, data in broken.items():
        file.write_bytes(data)
        with pytest.raises(SecretError):
            opened(file)
            pytest.fail(what)


def test_a_private_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "key"
    public = make_private_key(file)
    assert public_key(public) == private_key(file).public_key
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SecretError, match="exists"):
        make_private_key(file)


@pytest.mark.parametrize("text", ["", "x" * 64, "00" * 31])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(SecretError, match="private key"):
        private_key(tmp_path / "key")
    with pytest.raises(SecretError, match="64 hexadecimal digits"):
        public_key(text)
