"""Frames recorded from 0.32.2 agents open with our code; what we seal from the same parts opens to the same text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openportal.paddington.crypto import Keys, frame_randoms, open_, open_frame, seal, xor

FOLDER = Path(__file__).parent.parent / "vectors" / "wire"
FILES = sorted(FOLDER.glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text())
    return vector


def keys_of_frames(vector: dict[str, Any]) -> list[Keys]:
    """The keys of each frame: they change with the two handshake messages."""
    inner, outer = bytes.fromhex(vector["inner_key"]), bytes.fromhex(vector["outer_key"])
    keys = Keys(inner, outer, bytes.fromhex(vector["inner_salt"]), bytes.fromhex(vector["outer_salt"]))
    result = []
    for frame in vector["frames"]:
        result.append(keys)
        if frame["kind"] == "handshake":
            session_key = bytes.fromhex(frame["plaintext"]["session_key"]["data"])
            keys = keys.with_outer(session_key) if frame["direction"] == "c2s" else keys.with_inner(session_key)
    return result


def test_there_are_vectors() -> None:
    assert len(FILES) == 5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recorded_frames_open(path: Path) -> None:
    vector = load(path)
    for keys, frame in zip(keys_of_frames(vector), vector["frames"], strict=True):
        assert open_frame(keys, frame["frame"]) == frame["plaintext"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_sealed_again(path: Path) -> None:
    """With the recorded salts, infos and outer nonce; the inner nonce is inside, so ours is another."""
    vector = load(path)
    for keys, frame in zip(keys_of_frames(vector), vector["frames"], strict=True):
        ours = seal(keys, msgspec.json.encode(frame["plaintext"]), frame_randoms(frame["frame"])).decode()
        assert ours[:176] == frame["frame"][:176]  # infos and outer nonce
        assert len(ours) == len(frame["frame"])
        assert open_(keys, ours) == open_(keys, frame["frame"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_salt_masks_are_crossed(path: Path) -> None:
    vector = load(path)
    headers = {name: bytes.fromhex(value) for name, value in vector["upgrade_headers"].items()}
    inner_key, outer_key = bytes.fromhex(vector["inner_key"]), bytes.fromhex(vector["outer_key"])
    assert xor(headers["openportal-inner-salt"], outer_key).hex() == vector["inner_salt"]
    assert xor(headers["openportal-outer-salt"], inner_key).hex() == vector["outer_salt"]
