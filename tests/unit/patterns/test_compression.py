"""Packed bytes: what was packed comes back, bombs do not, and the codec is the one that saves most."""

import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors_dagster.errors import CompressionError, UnknownCodecError
from collectors_dagster.patterns.compression import (
    MEASURE_EVERY,
    MOST_KINDS,
    Codec,
    CompressionPolicy,
    Compressor,
    measured,
    unpacked,
)

REAL = [Codec.GZIP, Codec.LZ4, Codec.ZSTD]
ALL = CompressionPolicy((Codec.GZIP, Codec.LZ4, Codec.ZSTD))
NUMBERS = struct.pack("<500I", *range(0, 1500, 3))
WORDS = b"one two three " * 400
PAYLOADS = st.one_of(
    st.binary(max_size=3000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=40), st.integers(1, 200)),
)


@given(PAYLOADS, st.sampled_from([(), *((codec,) for codec in REAL), tuple(REAL)]))
def test_what_was_packed_comes_back(payload: bytes, candidates: tuple[Codec, ...]) -> None:
    packed = Compressor(CompressionPolicy(candidates, smallest_bytes=0)).packed(payload, "any")
    assert unpacked(packed, len(payload)) == payload
    assert len(packed) <= len(payload) + 1


@pytest.mark.parametrize("codec", REAL)
@given(PAYLOADS.filter(bool), st.data())
def test_damage_is_told_or_harmless_and_never_costs_more_memory_than_allowed(
    codec: Codec, payload: bytes, data: st.DataObject
) -> None:
    packed = bytearray(Compressor(CompressionPolicy((codec,), smallest_bytes=0)).packed(payload, "any"))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(CompressionError):
        assert len(unpacked(bytes(packed), len(payload))) <= len(payload)


@given(st.binary(max_size=200), st.sampled_from([0, *REAL]))
def test_noise_behind_any_codec_byte_is_refused_or_bounded(noise: bytes, codec: int) -> None:
    with suppress(CompressionError):
        assert len(unpacked(bytes([codec]) + noise, 1000)) <= 1000


@pytest.mark.parametrize("codec", REAL)
def test_a_bomb_is_refused_before_it_takes_the_memory(codec: Codec) -> None:
    import tracemalloc

    bomb = Compressor(CompressionPolicy((codec,))).packed(bytes(50_000_000), "bomb")
    assert bomb[0] == codec
    tracemalloc.start()
    try:
        with pytest.raises(CompressionError, match="become larger than the 100000 bytes"):
            unpacked(bomb, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", REAL)
def test_bytes_cut_short_or_followed_by_others_are_damaged(codec: Codec) -> None:
    packed = Compressor(CompressionPolicy((codec,))).packed(WORDS, "words")
    assert packed[0] == codec
    for wrong in (packed[:-3], packed[:3], packed + b"more"):
        with pytest.raises(CompressionError):
            unpacked(wrong, 10_000)


def test_a_stream_of_zlib_alone_is_read() -> None:
    assert unpacked(zlib.compress(NUMBERS), 10_000) == NUMBERS


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(UnknownCodecError, match="codec 77, which this version does not know"):
        unpacked(b"\x4dwhatever", 100)
    with pytest.raises(CompressionError, match="lack their codec byte"):
        unpacked(b"", 100)


def test_from_1024_bytes_and_20_percent_on_it_is_packed() -> None:
    compressor = Compressor(CompressionPolicy((Codec.GZIP,)))
    assert compressor.packed(bytes(1023), "small")[0] == Codec.NONE
    assert compressor.packed(bytes(1024), "large")[0] == Codec.GZIP
    for zeros, codec in ((900, Codec.NONE), (1200, Codec.GZIP)):  # of 5,000, the rest random
        assert compressor.packed(os.urandom(5000 - zeros) + bytes(zeros), f"{zeros}")[0] == codec


def test_the_codec_is_the_one_that_saves_most_for_its_kind_of_payload() -> None:
    compressor = Compressor(ALL)
    for kind, payload in (("numbers", NUMBERS), ("words", WORDS), ("noise", os.urandom(3000))):
        sizes = {codec: len(Compressor(CompressionPolicy((codec,))).packed(payload, kind)) for codec in REAL}
        taken = compressor.packed(payload, kind)
        assert len(taken) <= min(sizes.values()) + 0.02 * len(payload)
        assert compressor.chosen(kind) == Codec(taken[0])
    assert compressor.chosen("noise") is Codec.NONE


@given(st.dictionaries(st.sampled_from(REAL), st.integers(1, 1200)))
def test_a_later_candidate_wins_only_if_it_saves_clearly_more(sizes: dict[Codec, int]) -> None:
    best = measured(ALL, sizes, 1000)
    smallest = min(sizes.values(), default=1000)
    if best is Codec.NONE:
        assert smallest > 780
    else:
        assert sizes[best] <= 800
        assert sizes[best] <= smallest + 40
        before = ALL.candidates[: ALL.candidates.index(best)]
        assert all(sizes[best] <= sizes[codec] - 20 for codec in before if codec in sizes)


def test_what_was_measured_is_measured_anew_when_payloads_may_have_changed() -> None:
    compressor = Compressor(ALL)
    compressor.packed(os.urandom(2000), "kind")
    kept = [compressor.packed(bytes(2000), "kind")[0] for _ in range(MEASURE_EVERY + 1)]
    assert set(kept[:-1]) == {Codec.NONE}
    assert kept[-1] == Codec.GZIP


def test_a_payload_that_its_kinds_codec_does_not_help_is_kept_as_it_is() -> None:
    compressor = Compressor(ALL)
    assert compressor.packed(bytes(2000), "kind")[0] == Codec.GZIP
    assert compressor.packed(os.urandom(2000), "kind")[0] == Codec.NONE
    assert compressor.packed(bytes(2000), "kind")[0] == Codec.GZIP


def test_only_so_many_kinds_are_remembered() -> None:
    compressor = Compressor(ALL)
    for number in range(MOST_KINDS + 1):
        compressor.packed(bytes(2000), f"kind {number}")
    assert compressor.chosen("kind 0") is None
    assert compressor.chosen("kind 1") is Codec.GZIP


@pytest.mark.parametrize(("payload", "loaded"), [("bytes(5000)", []), ("os.urandom(5000)", ["lz4", "zstandard"])])
def test_a_library_is_loaded_only_if_what_is_there_does_not_save_enough(payload: str, loaded: list[str]) -> None:
    program = (
        "import os, sys\n"
        "from collectors_dagster.agent.form import automatic\n"
        f"automatic().packed({payload}, 'kind')\n"
        "print(sorted({'lz4', 'zstandard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)
