"""XXH64 against the vectors its author publishes, and against a slow implementation of the same description."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd._native import checksum
from support.journal_images import slow_xxh64

PRIME32: Final = 2654435761
PRIME64: Final = 11400714785074694797

# (length, seed, checksum) from XSUM_XXH64_testdata in tests/sanity_test_vectors.h of github.com/Cyan4973/xxHash.
VECTORS: Final = [
    (0, 0, 0xEF46DB3751D8E999),
    (0, PRIME32, 0xAC75FDA2929B17EF),
    (1, 0, 0xE934A84ADB052768),
    (1, PRIME32, 0x5014607643A9B4C3),
    (4, 0, 0x9136A0DCA57457EE),
    (4, PRIME32, 0xCAAB286BD8E9FDB5),
    (8, 0, 0xCDBCF538E71D1348),
    (14, 0, 0x8282DCC4994E35C8),
    (14, PRIME32, 0xC3BD6BF63DEB6DF0),
    (32, 0, 0x18B216492BB44B70),
    (33, 0, 0x55C8DC3E578F5B59),
    (222, 0, 0xB641AE8CB691C174),
    (222, PRIME32, 0x20CB8AB7AE10C14A),
    (2367, 0, 0xA82418DDEC0EA581),
    (2367, PRIME32, 0xA36A93C18052673A),
    (4160, 0, 0xEEE6A4E2AC952A5E),
    (4160, PRIME32, 0xA4CB59E19D6A35F9),
]


def published_input(length: int) -> bytes:
    data = bytearray()
    state = PRIME32
    for _ in range(length):
        data.append(state >> 56)
        state = state * PRIME64 % 2**64
    return bytes(data)


@pytest.mark.parametrize(("length", "seed", "expected"), VECTORS)
def test_published_vectors(length: int, seed: int, expected: int) -> None:
    data = published_input(length)
    assert checksum.xxh64(data, seed) == expected
    assert slow_xxh64(data, seed) == expected


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_equals_the_slow_implementation(data: bytes, seed: int) -> None:
    assert checksum.xxh64(data, seed) == slow_xxh64(data, seed)


@pytest.mark.parametrize("length", [16_383, 16_384, 16_385, 50_001])
def test_long_inputs_run_without_the_interpreter(length: int) -> None:
    data = published_input(length)
    assert checksum.xxh64(data, 7) == slow_xxh64(data, 7)


def test_reads_any_buffer_at_any_address() -> None:
    data = published_input(100)
    shifted = memoryview(bytearray(b"x" + data))[1:]
    assert checksum.xxh64(shifted) == checksum.xxh64(data) == checksum.xxh64(bytearray(data))


def test_refuses_what_has_no_bytes() -> None:
    with pytest.raises(TypeError):
        checksum.xxh64("text")  # type: ignore[arg-type]
