"""Bytes that are nearly right: seeded mutations of good inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

TOKENS = (
    b"null", b"true", b"-1", b"0", b"1e309", b"NaN", b"99999999999999999999", b'""', b"[]", b"{}",
    b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b'"\\u0000"', b"}" * 64, b"[" * 512, b'"a":' * 8,
    b"2026-13-45T99:99:99Z", b"9999-12-31T23:59:59Z", b"open_slide", b"../../etc", b"\xff\xd9", b"\xff\xd8",
)  # fmt: skip


def mutated(seeds: Sequence[bytes], *, count: int, seed: int) -> Iterator[bytes]:
    """``count`` inputs, each made of a seed by one to eight changes; the same for the same ``seed``."""
    chance = random.Random(seed)
    for _ in range(count):
        content = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _change(content, chance, seeds)
        yield bytes(content)


def _change(content: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = chance.randint(0, len(content))
    length = min(chance.choice((1, 1, 2, 4, 16, 64, 256)), len(content) - at)
    match chance.randrange(7):
        case 0 if content:
            content[at % len(content)] ^= 1 << chance.randrange(8)
        case 1:
            del content[at : at + length]
        case 2:
            content[at:at] = content[at : at + length]
        case 3:
            content[at:at] = chance.randbytes(length)
        case 4:
            content[at : at + length] = chance.choice(TOKENS)
        case 5:
            del content[at:]
        case _:
            other = chance.choice(seeds)
            begin = chance.randint(0, len(other))
            content[at : at + length] = other[begin : begin + length]
