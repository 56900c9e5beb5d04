"""Keys are locked, never written over, and never on the command line; on a token they stay there."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from export.errors import SigningError
from export.publishing.keys import Keyring, adopt_token_key, make_key, read_keys
from tests.export.publishing.workshop import PASSWORD

SOFTHSM = next(
    (
        place
        for place in (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/usr/lib64/pkcs11/libsofthsm2.so"))
        if place.is_file()
    ),
    None,
)


def test_a_key_is_locked_and_its_owner_s_alone(tmp_path: Path) -> None:
    make_key(tmp_path / "keys", "root-1", password=PASSWORD)
    private = tmp_path / "keys" / "root-1.pem"
    assert private.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / "keys" / "root-1.pub").read_bytes()


def test_what_a_key_signs_its_public_half_verifies(tmp_path: Path) -> None:
    key = make_key(tmp_path, "root-1", password=PASSWORD)
    (signer,) = Keyring(directories=[tmp_path], secrets=lambda _: PASSWORD).signers([key.public.keyid])
    key.public.verify_signature(signer.sign(b"data"), b"data")


def test_each_password_is_asked_for_once_and_by_name(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(words: str) -> str:
        asked.append(words)
        return PASSWORD

    keys = [make_key(tmp_path, name, password=PASSWORD) for name in ("root-1", "root-2")]
    keyring = Keyring(directories=[tmp_path], secrets=ask)
    assert asked == []
    for _ in range(2):
        keyring.signers([each.public.keyid for each in keys])
    assert asked == ["Password of the key root-1", "Password of the key root-2"]


def test_a_wrong_password_is_told_plainly(tmp_path: Path) -> None:
    (key,) = [make_key(tmp_path, "root-1", password=PASSWORD)]
    with pytest.raises(SigningError, match=r"root-1\.pem cannot be unlocked.*Check the password"):
        Keyring(directories=[tmp_path], secrets=lambda _: "another password").signers([key.public.keyid])


def test_a_key_without_a_lock_is_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path, "root-1", password=PASSWORD)
    place = tmp_path / "root-1.pem"
    unlocked = subprocess.run(
        ["openssl", "pkey", "-in", str(place), "-passin", f"pass:{PASSWORD}"], capture_output=True, check=True
    )
    place.write_bytes(unlocked.stdout)
    with pytest.raises(SigningError, match=r"not locked by a password.*openssl pkcs8 -topk8 -scrypt"):
        Keyring(directories=[tmp_path], secrets=lambda _: PASSWORD).signers([key.public.keyid])


def test_a_key_that_was_locked_more_slowly_by_openssl_signs(tmp_path: Path) -> None:
    """The remedy that we give works: scrypt makes a guess dear."""
    key = make_key(tmp_path, "root-1", password=PASSWORD)
    place, fresh = tmp_path / "root-1.pem", tmp_path / "fresh"
    subprocess.run(
        [
            *("openssl", "pkcs8", "-topk8", "-scrypt", "-in", str(place), "-out", str(fresh)),
            *("-passin", f"pass:{PASSWORD}", "-passout", f"pass:{PASSWORD}"),
        ],
        check=True,
    )
    fresh.replace(place)
    (signer,) = Keyring(directories=[tmp_path], secrets=lambda _: PASSWORD).signers([key.public.keyid])
    key.public.verify_signature(signer.sign(b"data"), b"data")


def test_halves_of_two_keys_are_refused(tmp_path: Path) -> None:
    make_key(tmp_path, "root-1", password=PASSWORD)
    make_key(tmp_path, "root-2", password=PASSWORD)
    shutil.copy(tmp_path / "root-2.pem", tmp_path / "root-1.pem")
    key = read_keys(tmp_path)[0]
    with pytest.raises(SigningError, match=r"not the private half of root-1\.pub"):
        Keyring(directories=[tmp_path], secrets=lambda _: PASSWORD).signers([key.public.keyid])


def test_a_weak_password_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="has 6 characters; at least 12"):
        make_key(tmp_path, "root-1", password="secret")  # noqa: S106
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_never_written_over(tmp_path: Path) -> None:
    make_key(tmp_path, "root-1", password=PASSWORD)
    before = (tmp_path / "root-1.pem").read_bytes()
    with pytest.raises(SigningError, match=r"root-1\.pub exists; a key is never written over"):
        make_key(tmp_path, "root-1", password=PASSWORD)
    assert (tmp_path / "root-1.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["", "../root-1", "Root", "a b", "x" * 64])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SigningError, match="is no name for a key"):
        make_key(tmp_path, name, password=PASSWORD)


def test_a_missing_directory_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(SigningError, match=r"key directory .*absent is not there"):
        Keyring(directories=[tmp_path / "absent"], secrets=lambda _: "")


def test_a_token_without_its_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from securesystemslib.signer import _hsm_signer

    monkeypatch.setattr(_hsm_signer, "PKCS11_IMPORT_ERROR", "'python-pkcs11' required")
    with pytest.raises(SigningError, match=r"python-pkcs11, which is not installed.*leukoscope\[pkcs11\]"):
        adopt_token_key(tmp_path, "root-1", key_id=2, token_label=None, secrets=lambda _: "1234")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A SoftHSM token with an ECDSA key of id 2; gives its label."""
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (extra pkcs11)")
    if SOFTHSM is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian, Ubuntu: apt install softhsm2)")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("PYKCS11LIB", str(SOFTHSM))
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", "lab", "--pin", "1234", "--so-pin", "1234"],
        check=True,
        capture_output=True,
    )
    from pkcs11.util.ec import encode_named_curve_parameters

    library = pkcs11.lib(str(SOFTHSM))
    library.reinitialize()
    with library.get_token(token_label="lab").open(rw=True, user_pin="1234") as session:  # noqa: S106
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC,
            {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        parameters.generate_keypair(
            mechanism=pkcs11.Mechanism.EC_KEY_PAIR_GEN, store=True, id=bytes([2]), label="signing"
        )
    return "lab"


def test_a_key_on_a_token_signs_by_its_pin(token: str, tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(words: str) -> str:
        asked.append(words)
        return "1234"

    key = adopt_token_key(tmp_path / "keys", "root-1", key_id=2, token_label=token, secrets=ask)
    assert sorted(each.name for each in (tmp_path / "keys").iterdir()) == ["root-1.pub", "root-1.token"]
    (signer,) = Keyring(directories=[tmp_path / "keys"], secrets=ask).signers([key.public.keyid])
    for data in (b"one", b"two"):
        key.public.verify_signature(signer.sign(data), data)
    assert asked == ["PIN of the token lab"]


def test_a_wrong_token_is_told_plainly(token: str, tmp_path: Path) -> None:
    with pytest.raises(SigningError, match="gives no key 2: No PKCS#11 token found for label other"):
        adopt_token_key(tmp_path, "root-1", key_id=2, token_label="other", secrets=lambda _: "1234")  # noqa: S106
    os.environ.pop("PYKCS11LIB")
    with pytest.raises(SigningError, match="PYKCS11LIB"):
        adopt_token_key(tmp_path, "root-1", key_id=2, token_label=token, secrets=lambda _: "1234")
