"""What a slide is called in records: its accession id, or a pseudonym that only the laboratory can look up.

The pseudonym is a keyed hash: ``{key}-{hash}`` in small base32 letters, where ``hash`` are the first 80 bits
of HMAC-SHA256 (RFC 2104) over the accession id, and ``key`` the first 20 bits of a hash of the key, which
tell under which key a slide was named. Without the key nobody can try ids until one fits, however few of
them there are; with it the laboratory finds the pseudonym of its own id again (``leukoscope-edge slide
pseudonym``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from edge.errors import ConfigError

_log = logging.getLogger(__name__)

_KEY_BYTES: Final = 32
_KEY_TEXT: Final = re.compile(rb"[0-9a-fA-F]{64,}")
_PURPOSE: Final = b"leukoscope accession 1\0"
_PURPOSE_OF_ID: Final = b"leukoscope slide key 1\0"
_ID_LETTERS: Final = 4
_HASH_LETTERS: Final = 16
_READABLE_BY_ALL: Final = stat.S_IROTH | stat.S_IWOTH


class SlideKeyError(ConfigError):
    """The key that hides accession ids is missing, unreadable or none; no slide is opened by an id then."""


@dataclass(frozen=True, kw_only=True)
class RecordedName:
    """What records call a slide, and what kind of name that is."""

    name: str
    identity: Literal["pseudonym", "plain"]


class SlideNames(Protocol):
    """Turns accession ids into what records call their slides; ``identity`` is the kind of name they get."""

    @property
    def identity(self) -> Literal["pseudonym", "plain"]:
        """The kind of name."""
        ...

    def recorded(self, accession: str) -> RecordedName:
        """The name of ``accession`` in records: always the same. Raises SlideKeyError."""
        ...


class PlainNames:
    """Records carry the accession id itself."""

    identity: Final = "plain"

    def recorded(self, accession: str) -> RecordedName:
        """As SlideNames."""
        return RecordedName(name=normalised(accession), identity=self.identity)


class Pseudonyms:
    """Records carry a keyed hash of the accession id.

    With ``own`` the key is this station's: it is made at the first use, and its disappearance later is an
    error, since a new one would part a patient's slides. A key of the laboratory is only ever read.
    """

    identity: Final = "pseudonym"

    def __init__(self, *, key_file: Path, own: bool) -> None:
        self._key_file = key_file
        self._own = own

    def recorded(self, accession: str) -> RecordedName:
        """As SlideNames. The key is read anew each time, so that one that was put in its place counts."""
        return RecordedName(name=pseudonym(accession, self.key()), identity=self.identity)

    def key(self) -> bytes:
        """The key. Raises SlideKeyError."""
        if self._own and not self._key_file.exists():
            if self._note.exists():
                raise SlideKeyError(
                    f"The key {self._key_file}, by which this station hides accession ids, is gone "
                    f"(it was {_text_of(self._note)}).",
                    remedy="Put it back from a copy, or begin with a new one: leukoscope-edge slide new-key.",
                )
            self.make()
        key = read_key(self._key_file)
        if self._own and _text_of(self._note) != key_id(key):
            _write_new(self._note, key_id(key).encode())
        return key

    def make(self) -> str:
        """Make a new key of the station's own; its id. A former one is kept aside under its id."""
        key = secrets.token_bytes(_KEY_BYTES)
        try:
            if self._key_file.exists():
                former = read_key(self._key_file)
                self._key_file.rename(aside(self._key_file, former))
            _write_new(self._key_file, key.hex().encode() + b"\n")
            _write_new(self._note, key_id(key).encode())
        except OSError as error:
            raise SlideKeyError(
                f"No key can be made at {self._key_file}: {error.strerror}.",
                remedy="Let the station's user write there, or name the laboratory's key: slide.key_file.",
            ) from error
        _log.info("accession ids are hidden by the new key %s (%s)", key_id(key), self._key_file)
        return key_id(key)

    def former_keys(self) -> tuple[bytes, ...]:
        """The keys that were replaced here, so that slides named under them can still be looked up."""
        found = sorted(self._key_file.parent.glob(f"{self._key_file.name}.*"))
        return tuple(read_key(each) for each in found if each != self._note)

    @property
    def _note(self) -> Path:
        """The id of the key in use, beside it."""
        return self._key_file.with_name(f"{self._key_file.name}.id")


def pseudonym(accession: str, key: bytes) -> str:
    """The name of ``accession`` under ``key``."""
    digest = hmac.new(key, _PURPOSE + normalised(accession).encode(), hashlib.sha256).digest()
    return f"{key_id(key)}-{_letters(digest, _HASH_LETTERS)}"


def key_id(key: bytes) -> str:
    """Four letters that tell keys apart and say nothing of them."""
    return _letters(hashlib.sha256(_PURPOSE_OF_ID + key).digest(), _ID_LETTERS)


def normalised(accession: str) -> str:
    """The id as it counts: without space around it, and in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", accession.strip())


def aside(key_file: Path, key: bytes) -> Path:
    """Where a key that was replaced is kept."""
    return key_file.with_name(f"{key_file.name}.{key_id(key)}")


def read_key(path: Path) -> bytes:
    """The key in ``path``: at least 32 bytes in hexadecimal digits. Raises SlideKeyError."""
    try:
        mode = path.stat().st_mode
        text = path.read_bytes().strip()
    except OSError as error:
        raise SlideKeyError(
            f"The key {path}, which hides accession ids, cannot be read: {error.strerror}.",
            remedy='Bring it there for the station\'s user, or set slide.identity = "plain".',
        ) from error
    if mode & _READABLE_BY_ALL:
        raise SlideKeyError(
            f"The key {path}, which hides accession ids, is open to everybody on this machine.",
            remedy=f"Close it: chmod o-rwx {path}.",
        )
    if not _KEY_TEXT.fullmatch(text) or len(text) % 2:
        raise SlideKeyError(
            f"{path} holds no key: at least 32 bytes in hexadecimal digits are needed.",
            remedy=f"Make one: openssl rand -hex 32 > {path}.",
        )
    return bytes.fromhex(text.decode())


def _letters(digest: bytes, count: int) -> str:
    return base64.b32encode(digest).decode().lower()[:count]


def _text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read from its first byte on, durably."""
    fresh = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
