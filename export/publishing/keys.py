"""Keys that sign a repository: in files locked by a password, or on a PKCS#11 token.

A key is called by a name. ``NAME.pub`` is its public half (PEM), which may lie anywhere and is enough to
name the key in a root. Beside it, where the key's holder signs, lies its private half: ``NAME.pem``
(PKCS#8, encrypted), or ``NAME.token``, the address of a key that never leaves its token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.exceptions import KeyMismatchError, UnsupportedLibraryError
from securesystemslib.signer import CryptoSigner, HSMSigner, Signer, SSlibKey  # type: ignore[attr-defined]

from export.errors import SigningError

MIN_PASSWORD_LENGTH: Final = 12
"""Guessing is all that stands between a stolen file and its key, and PKCS#8 makes a guess cheap."""

PUBLIC: Final = ".pub"
TRUSTED_ROOT: Final = "trusted-root.json"
"""Beside the keys: the root that the repository is held to before anything in it is signed again."""

_PRIVATE: Final = ".pem"
_ADDRESS: Final = ".token"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_\-]{0,62}")

Secrets = Callable[[str], str]
"""Asks a person, or a file, for the secret that the words name."""


@dataclass(frozen=True, kw_only=True)
class StoredKey:
    """A key of a directory: its public half, and whether its private half can be used from there."""

    name: str
    directory: Path
    public: SSlibKey

    @property
    def can_sign(self) -> bool:
        """Whether the private half, or the address of a token, lies beside the public half."""
        return self._private.is_file() or self._address.is_file()

    def signer(self, secrets: Secrets) -> Signer:
        """Unlock the key. Raises SigningError."""
        if self._private.is_file():
            return self._unlocked(secrets(f"Password of the key {self.name}"))
        if self._address.is_file():
            return _token_signer(self._address, self.public, secrets)
        raise SigningError(
            f"The private half of the key {self.name} is not in {self.directory}.",
            remedy="Name the directory of its holder, or have the holder sign.",
        )

    def _unlocked(self, password: str) -> Signer:
        try:
            private = load_pem_private_key(self._private.read_bytes(), password.encode())
            return CryptoSigner(private, self.public)
        except TypeError as error:
            raise SigningError(
                f"{self._private} is not locked by a password: whoever copies it signs as you.",
                remedy="Lock it: openssl pkcs8 -topk8 -scrypt -in OLD.pem -out NEW.pem",
            ) from error
        except KeyMismatchError as error:
            raise SigningError(
                f"{self._private} is not the private half of {self.name}{PUBLIC}.",
                remedy="Bring the two files that were made together.",
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SigningError(
                f"{self._private} cannot be unlocked: {error}.", remedy="Check the password."
            ) from error
        except OSError as error:
            raise SigningError(f"{self._private} cannot be read: {error.strerror}.") from error

    @property
    def _private(self) -> Path:
        return self.directory / f"{self.name}{_PRIVATE}"

    @property
    def _address(self) -> Path:
        return self.directory / f"{self.name}{_ADDRESS}"


class Keyring:
    """The keys of some directories; each is unlocked when it is needed first, and asked for once."""

    def __init__(self, *, directories: Iterable[Path], secrets: Secrets) -> None:
        self._directories = tuple(directories)
        self._keys = [key for directory in self._directories for key in read_keys(directory)]
        self._secrets = secrets
        self._signers: dict[str, Signer] = {}

    @property
    def keys(self) -> tuple[StoredKey, ...]:
        """Every key of the directories."""
        return tuple(self._keys)

    def trusted_root(self) -> bytes:
        """The root metadata that the holder of these keys trusts. Raises SigningError.

        Without it, whoever can write into a repository could have its own additions signed by the next
        honest publication.
        """
        for directory in self._directories:
            if (place := directory / TRUSTED_ROOT).is_file():
                return place.read_bytes()
        raise SigningError(
            f"No {TRUSTED_ROOT} lies beside the keys, so the repository cannot be told from a forged one.",
            remedy=f"Copy the true metadata/1.root.json there as {TRUSTED_ROOT}, from a trusted hand.",
        )

    def refuse_trusted_root(self) -> None:
        """Raise SigningError where the keys belong to a repository already."""
        for directory in self._directories:
            if (place := directory / TRUSTED_ROOT).exists():
                raise SigningError(
                    f"{place} is the root of another repository.", remedy="Take other keys for a new one."
                )

    def keep_trusted_root(self, content: bytes) -> None:
        """Put the root of a new repository beside the keys. Raises OSError."""
        for directory in self._directories:
            _write_new(directory / TRUSTED_ROOT, content, mode=0o644)

    def signers(self, ids: Iterable[str]) -> list[Signer]:
        """Signers for those of the keys ``ids`` that can sign from here."""
        usable = {key.public.keyid: key for key in self._keys if key.can_sign}
        return [self._signer(usable[each]) for each in ids if each in usable]

    def can_sign(self, ids: Iterable[str]) -> int:
        """How many of the keys ``ids`` can sign from here; none is unlocked for it."""
        return len(set(ids) & {key.public.keyid for key in self._keys if key.can_sign})

    def name(self, key_id: str) -> str:
        """What a person calls the key: its name where it is known here, else the beginning of its id."""
        known = [key.name for key in self._keys if key.public.keyid == key_id]
        return known[0] if known else f"{key_id[:8]}..."

    def _signer(self, key: StoredKey) -> Signer:
        found = self._signers.get(key.public.keyid)
        if found is None:
            found = self._signers[key.public.keyid] = key.signer(self._secrets)
        return found


def make_key(directory: Path, name: str, *, password: str) -> StoredKey:
    """Make an Ed25519 key and lock it. Raises SigningError for a taken name or a weak password."""
    _refuse_name(directory, name)
    if len(password) < MIN_PASSWORD_LENGTH:
        raise SigningError(
            f"The password has {len(password)} characters; at least {MIN_PASSWORD_LENGTH} are needed.",
            remedy="Take a sentence.",
        )
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    locked = BestAvailableEncryption(password.encode())
    _write_new(
        directory / f"{name}{_PRIVATE}",
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked),
        mode=0o600,
    )
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _write_new(directory / f"{name}{PUBLIC}", public, mode=0o644)
    return StoredKey(name=name, directory=directory, public=read_public(directory / f"{name}{PUBLIC}"))


def adopt_token_key(
    directory: Path, name: str, *, key_id: int, token_label: str | None, secrets: Secrets
) -> StoredKey:
    """Write down the public half and the address of an ECDSA key (P-256 or P-384) on a PKCS#11 token.

    The environment names the token's library in ``PYKCS11LIB``. Raises SigningError.
    """
    _refuse_name(directory, name)
    try:
        address, public = HSMSigner.import_(key_id, token_label, _pin(secrets, token_label))
    except UnsupportedLibraryError as error:
        raise _without_pkcs11() from error
    except ValueError as error:
        raise SigningError(
            f"The token gives no key {key_id}: {error}.",
            remedy="Set PYKCS11LIB to the token's library; name the token with --token, the key with --id.",
        ) from error
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_new(directory / f"{name}{_ADDRESS}", f"{address}\n".encode(), mode=0o600)
    _write_new(directory / f"{name}{PUBLIC}", public.keyval["public"].encode(), mode=0o644)
    return StoredKey(name=name, directory=directory, public=read_public(directory / f"{name}{PUBLIC}"))


def read_keys(directory: Path) -> list[StoredKey]:
    """Every key of a directory, by name. Raises SigningError."""
    if not directory.is_dir():
        raise SigningError(
            f"The key directory {directory} is not there.",
            remedy="Make keys with `leukoscope-export keys make`.",
        )
    return [
        StoredKey(name=each.stem, directory=directory, public=read_public(each))
        for each in sorted(directory.glob(f"*{PUBLIC}"))
    ]


def read_public(path: Path) -> SSlibKey:
    """The public key in a PEM file; its id follows from it. Raises SigningError."""
    try:
        return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
    except OSError as error:
        raise SigningError(f"The public key {path} cannot be read: {error.strerror}.") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningError(
            f"{path} is not a public key: {error}.", remedy=f"Name the *{PUBLIC} file of a key."
        ) from error


def _token_signer(address: Path, public: SSlibKey, secrets: Secrets) -> Signer:
    uri = address.read_text("ascii").strip()
    label = uri.partition("?label=")[2] or None
    try:
        return HSMSigner.from_priv_key_uri(uri, public, _pin(secrets, label))
    except UnsupportedLibraryError as error:
        raise _without_pkcs11() from error
    except ValueError as error:
        raise SigningError(
            f"{address} is not the address of a token's key: {error}.",
            remedy="Write it anew with `leukoscope-export keys token`.",
        ) from error


def _pin(secrets: Secrets, label: str | None) -> Secrets:
    """Ask for a token's PIN once, however often it signs."""
    known: list[str] = []

    def ask(_: str) -> str:
        if not known:
            known.append(secrets(f"PIN of the token {label or ''}".rstrip()))
        return known[0]

    return ask


def _without_pkcs11() -> SigningError:
    return SigningError(
        "Keys on tokens need the package python-pkcs11, which is not installed.",
        remedy="pip install 'leukoscope[pkcs11]'",
    )


def _refuse_name(directory: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise SigningError(
            f"{name!r} is no name for a key.",
            remedy="Take small letters, digits, hyphens: for example root-1.",
        )
    if taken := [each for each in (PUBLIC, _PRIVATE, _ADDRESS) if (directory / f"{name}{each}").exists()]:
        raise SigningError(
            f"{directory / (name + taken[0])} exists; a key is never written over.",
            remedy="Take another name.",
        )


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
