"""Sealing: only with the key, only where it belongs, also after a change of keys."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from collectors_dagster.errors import SecurityError
from collectors_dagster.security.sealing import OVERHEAD_BYTES, Sealer, UnknownKeyError, load_sealer, read_keys

FIRST, SECOND = bytes(range(32)), bytes(range(1, 33))


def written(*keys: bytes) -> SecretStr:
    return SecretStr("\n".join(base64.b64encode(key).decode() for key in keys))


@given(st.binary(max_size=100), st.binary(max_size=20))
def test_what_is_sealed_opens_again_and_shows_nothing(plain: bytes, context: bytes) -> None:
    sealed = Sealer([FIRST]).seal(plain, context)
    assert Sealer([FIRST]).unseal(sealed, context) == plain
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert sealed != Sealer([FIRST]).seal(plain, context)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_every_change_is_noticed(plain: bytes, data: st.DataObject) -> None:
    sealed = bytearray(Sealer([FIRST]).seal(plain, b"here"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SecurityError):
        Sealer([FIRST]).unseal(bytes(sealed), b"here")


def test_it_opens_only_where_it_belongs() -> None:
    with pytest.raises(SecurityError, match="changed, or belong elsewhere"):
        Sealer([FIRST]).unseal(Sealer([FIRST]).seal(b"x", b"here"), b"there")


def test_after_a_change_of_keys_the_old_one_still_opens() -> None:
    old = Sealer([FIRST]).seal(b"x", b"")
    changed = Sealer([SECOND, FIRST])
    assert changed.unseal(old, b"") == b"x"
    with pytest.raises(UnknownKeyError):
        Sealer([FIRST]).unseal(changed.seal(b"x", b""), b"")


def test_something_too_short_to_be_sealed_is_refused() -> None:
    sealer = Sealer([FIRST])
    with pytest.raises(SecurityError):
        sealer.unseal(sealer.seal(b"", b"")[:10], b"")


def test_keys_are_read_with_the_present_one_first() -> None:
    assert read_keys(written(FIRST, SECOND)) == [FIRST, SECOND]
    assert read_keys(SecretStr(written(FIRST).get_secret_value() + ", " + written(SECOND).get_secret_value())) == [
        FIRST,
        SECOND,
    ]


@pytest.mark.parametrize("text", ["", "   ", "short", "x" * 44, base64.b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_refused_with_the_remedy_and_without_the_words(text: str) -> None:
    with pytest.raises(SecurityError, match="head -c 32 /dev/urandom") as caught:
        read_keys(SecretStr(text))
    assert not text.strip() or text not in str(caught.value)


def test_a_key_file_must_be_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(written(FIRST).get_secret_value())
    path.chmod(0o644)
    with pytest.raises(SecurityError, match="chmod 600"):
        load_sealer(None, path)
    path.chmod(0o600)
    sealer = load_sealer(None, path)
    assert sealer is not None
    assert sealer.unseal(Sealer([FIRST]).seal(b"x", b""), b"") == b"x"
    with pytest.raises(SecurityError, match="one of the two"):
        load_sealer(written(FIRST), path)
    with pytest.raises(SecurityError, match="cannot be read"):
        load_sealer(None, tmp_path / "absent")
    assert load_sealer(None, None) is None
