"""What records call a slide, and what becomes of that when a key is lost, shared or replaced."""

import base64
import hashlib
import hmac
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.slide_identity import PlainNames, Pseudonyms, SlideKeyError, key_id, normalised, pseudonym, read_key

KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "slide-identity.key"


def test_the_pseudonym_is_the_documented_keyed_hash():
    digest = hmac.new(KEY, b"leukoscope accession 1\0H-2026-00417", hashlib.sha256).digest()
    letters = base64.b32encode(digest[:10]).decode().lower()
    key = base64.b32encode(hashlib.sha256(b"leukoscope slide key 1\0" + KEY).digest()).decode().lower()[:4]
    assert pseudonym("H-2026-00417", KEY) == f"{key}-{letters}"
    assert key_id(KEY) == key


@given(st.text(min_size=1, max_size=64), st.text(min_size=1, max_size=64))
def test_pseudonyms_are_equal_exactly_where_the_ids_are(one, other):
    assert (pseudonym(one, KEY) == pseudonym(other, KEY)) is (normalised(one) == normalised(other))
    assert len(pseudonym(one, KEY)) == 21


def test_spaces_and_the_form_of_accents_do_not_make_another_slide():
    assert pseudonym("  Mu\u0308ller 7\n", KEY) == pseudonym("M\u00fcller 7", KEY)
    assert pseudonym("a", KEY) != pseudonym("A", KEY)


def test_a_key_of_the_stations_own_is_made_at_the_first_use_for_its_eyes_alone(key_file):
    names = Pseudonyms(key_file=key_file, own=True)
    assert not key_file.exists()
    name = names.recorded("A 17")
    assert (name.identity, name.name) == ("pseudonym", pseudonym("A 17", read_key(key_file)))
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert Pseudonyms(key_file=key_file, own=True).recorded("A 17") == name


def test_a_key_that_has_gone_is_not_quietly_replaced(key_file):
    names = Pseudonyms(key_file=key_file, own=True)
    names.recorded("A 17")
    used = key_id(read_key(key_file))
    key_file.unlink()
    with pytest.raises(SlideKeyError, match=rf"is gone \(it was {used}\).*Put it back.*slide new-key"):
        names.recorded("A 17")
    assert not key_file.exists()


def test_a_new_key_names_slides_anew_and_the_former_is_kept_to_look_them_up(key_file):
    names = Pseudonyms(key_file=key_file, own=True)
    before = names.recorded("A 17").name
    made = names.make()
    after = names.recorded("A 17").name
    assert after.startswith(f"{made}-")
    assert after != before
    assert [pseudonym("A 17", key) for key in names.former_keys()] == [before]
    assert {stat.S_IMODE(path.stat().st_mode) for path in key_file.parent.iterdir()} == {0o600}


def test_stations_that_share_a_key_share_the_names(tmp_path):
    shared = tmp_path / "laboratory.key"
    shared.write_text(KEY.hex() + "\n")
    shared.chmod(0o640)
    one, other = (Pseudonyms(key_file=shared, own=False) for _ in range(2))
    assert one.recorded("A").name == other.recorded("A").name == pseudonym("A", KEY)
    assert list(tmp_path.iterdir()) == [shared]
    shared.write_text(KEY[::-1].hex())
    assert one.recorded("A").name == pseudonym("A", KEY[::-1])


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (None, 0, "cannot be read: No such file.*slide.identity"),
        (b"", 0o600, "holds no key.*openssl rand -hex 32"),
        (KEY[:31].hex().encode(), 0o600, "holds no key"),
        (KEY.hex().encode() + b"a", 0o600, "holds no key"),
        (b"\xff" * 40, 0o600, "holds no key"),
        (KEY.hex().encode(), 0o604, "open to everybody.*chmod o-rwx"),
    ],
)
def test_a_key_of_the_laboratory_that_is_none_is_told_with_its_remedy(tmp_path, content, mode, words):
    shared = tmp_path / "laboratory.key"
    if content is not None:
        shared.write_bytes(content)
        shared.chmod(mode)
    with pytest.raises(ConfigError, match=words):
        Pseudonyms(key_file=shared, own=False).recorded("A")


def test_where_there_is_no_folder_for_a_key_that_is_said(tmp_path):
    with pytest.raises(SlideKeyError, match=r"No key can be made at .*: No such file.*slide\.key_file"):
        Pseudonyms(key_file=tmp_path / "nowhere" / "key", own=True).recorded("A")


def test_a_crash_while_a_key_is_made_leaves_none_or_a_whole_one(key_file):
    key_file.with_name(f"{key_file.name}.new").write_text("half")
    name = Pseudonyms(key_file=key_file, own=True).recorded("A").name
    assert name == pseudonym("A", read_key(key_file))


def test_plain_names_are_the_ids_themselves():
    assert (PlainNames().recorded(" A 17 ").name, PlainNames().recorded("A").identity) == ("A 17", "plain")
