"""Changes who may sign for a repository: keys come and go by a new root, which old and new keys sign.

Root keys lie with several people. A root that lacks signatures waits beside the metadata until enough
holders have added theirs; only then is it put into effect. Where the keys of another role change, what that
role signed is first signed by the old and the new keys together, so that stations take the repository
before, during and after the change.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass

from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

from export.errors import PublishingError
from export.publishing.metadata_store import State
from export.publishing.repository import ROLES, Repository, refuse_impossible
from export.publishing.signing import Expiry, expiry_of


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a new root changes about ``role``; nothing at all renews the root's own date.

    ``remove`` has ids of keys. A key that should sign for several roles is removed from each by itself.
    """

    role: str
    add: tuple[SSlibKey, ...] = ()
    remove: tuple[str, ...] = ()
    threshold: int | None = None
    expiry: Expiry | None = None


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """A new root, and the signatures that it lacks: none where it is in effect."""

    version: int
    missing: int


def rotate(repository: Repository, change: Change) -> Rotation:
    """Make a new root with ``change`` and sign it with the root keys at hand.

    Raises PublishingError where another root waits or the change cannot be, SigningError where the keys for
    what must be signed anew are not at hand.
    """
    with repository.store.locked():
        state = repository.read()
        waiting = repository.store.waiting()
        if waiting is not None and waiting.signed.version > state.root.signed.version:
            raise PublishingError(
                f"Root {waiting.signed.version} waits for signatures already.",
                remedy="Sign it with `leukoscope-export sign`, or forget it with `sign --forget`.",
            )
        root = _changed(state.root.signed, change)
        dates = expiry_of(root)
        root.expires = repository.signatory.expires_in(asdict(dates)["root"])
        return _sign(repository, state, Metadata(root))


def sign_waiting(repository: Repository) -> Rotation:
    """Add signatures to the root that waits, and put it into effect if that was the last one needed.

    Raises PublishingError where none waits, or where it does not follow the root in effect.
    """
    with repository.store.locked():
        return _sign(repository, repository.read(), _waiting(repository))


def proposed(repository: Repository) -> list[str]:
    """In words, what the waiting root changes: to be read before it is signed. Raises PublishingError."""
    waiting = _waiting(repository).signed
    return differences(repository.read().root.signed, waiting, name=repository.signatory.keyring.name)


def differences(old: Root, new: Root, *, name: Callable[[str], str]) -> list[str]:
    """What ``new`` changes, a line each; ``name`` gives a key's name for its id."""
    lines = [f"root {old.version} -> {new.version}, good until {new.expires:%Y-%m-%d}"]
    for role in ROLES:
        before, after = old.roles[role], new.roles[role]
        lines += [
            f"{role}: removes {name(each)} ({each[:8]})" for each in before.keyids if each not in after.keyids
        ]
        lines += [
            f"{role}: adds {name(each)} ({each[:8]})" for each in after.keyids if each not in before.keyids
        ]
        if before.threshold != after.threshold:
            lines.append(
                f"{role}: {after.threshold} of {len(after.keyids)} must sign, not {before.threshold}"
            )
    if (was := expiry_of(old)) != (will := expiry_of(new)):
        lines.append(f"days in force: {_days(was)} -> {_days(will)}")
    if old.consistent_snapshot != new.consistent_snapshot:
        lines.append("consistent snapshots are switched off")
    return lines


def _days(expiry: Expiry) -> str:
    return ", ".join(f"{role} {days}" for role, days in asdict(expiry).items())


def _changed(old: Root, change: Change) -> Root:
    root = copy.deepcopy(old)
    root.version += 1
    for key in change.add:
        root.add_key(key, change.role)
    for key_id in change.remove:
        if key_id not in root.roles[change.role].keyids:
            raise PublishingError(
                f"The key {key_id[:8]}... does not sign for {change.role}.",
                remedy="See `leukoscope-export status` for who does.",
            )
        root.revoke_key(key_id, change.role)
    if change.threshold is not None:
        root.roles[change.role].threshold = change.threshold
    if change.expiry is not None:
        change.expiry.write(root)
    refuse_impossible(root)
    return root


def _waiting(repository: Repository) -> Metadata[Root]:
    waiting = repository.store.waiting()
    if waiting is None:
        raise PublishingError(
            "No root waits for signatures.", remedy="Make one with `leukoscope-export rotate`."
        )
    return waiting


def _sign(repository: Repository, state: State, root: Metadata[Root]) -> Rotation:
    old, new = state.root.signed, root.signed
    if new.version != old.version + 1:
        raise PublishingError(
            f"The waiting root is version {new.version}, but version {old.version} is in effect.",
            remedy="Forget it with `leukoscope-export sign --forget`, then rotate again.",
        )
    refuse_impossible(new)
    repository.signatory.add_signatures(root, by=(old, new))
    counted = new.get_root_verification_result(old, root.signed_bytes, root.signatures)
    missing = max(counted.first.missing, counted.second.missing)
    repository.store.keep_waiting(root)
    if missing == 0:
        _put_into_effect(repository, state, root)
    return Rotation(version=new.version, missing=missing)


def _put_into_effect(repository: Repository, state: State, root: Metadata[Root]) -> None:
    """Write the root; before it what old and new root vouch for, or after it what the new one needs."""
    old, new = state.root.signed, root.signed
    changed = [role for role in ROLES[1:] if _signers(old, role) != _signers(new, role)]
    signatory = repository.signatory
    for role in ROLES[1:] if changed else ():
        signatory.require(new, role)
    if changed and all(signatory.can_sign(role, by=(old, new)) for role in ROLES[1:]):
        repository.renew(state, by=(old, new))
        repository.store.write_root(root)
        return
    repository.store.write_root(root)
    if changed:
        # The old keys are lost or stolen. Until this is done stations refuse, and go on with what they have.
        repository.renew(repository.read(), by=(new,))


def _signers(root: Root, role: str) -> tuple[frozenset[str], int]:
    return frozenset(root.roles[role].keyids), root.roles[role].threshold
