"""The attacks: what each does to a repository in memory, and how a station's refusal of it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import TargetFile

from edge.update.catalogue import file_target, manifest_target
from tests.edge.bundles import FILES, manifest_content, write_files, write_manifest
from tests.edge.update.simulator import Simulator

PAST = datetime.now(timezone.utc) - timedelta(hours=1)
NEWER = {**FILES, "detector.onnx": b"a newer detector" * 30}
MANIFEST = manifest_target(name="probe", release=4)

Attack = Callable[[Simulator, Path], None]


def older_timestamp(repository: Simulator, _: Path) -> None:
    repository.timestamp.version = 1


def older_snapshot(repository: Simulator, _: Path) -> None:
    repository.snapshot.version = 1
    repository.issue_timestamp()


def older_targets(repository: Simulator, _: Path) -> None:
    repository.targets.version = 1
    repository.issue_snapshot()


def targets_left_out(repository: Simulator, _: Path) -> None:
    del repository.snapshot.meta["targets.json"]
    repository.snapshot.version += 1
    repository.issue_timestamp()


def root_again(repository: Simulator, _: Path) -> None:
    repository.roots.append(repository.roots[0])


def expired(role: str) -> Attack:
    def attack(repository: Simulator, _: Path) -> None:
        getattr(repository, role).expires = PAST
        if role == "root":
            repository.root.version += 1
            repository.publish_root()
        repository.issue()

    return attack


def snapshot_of_another_state(repository: Simulator, _: Path) -> None:
    """The parts are signed rightly, each for itself, but were never one state."""
    other = repository.signed(repository.snapshot)
    repository.issue_snapshot()
    repository.replaced[f"{repository.snapshot.version}.snapshot.json"] = other


def targets_of_another_state(repository: Simulator, _: Path) -> None:
    other = repository.signed(repository.targets)
    repository.targets.targets.pop(MANIFEST)
    repository.issue()
    repository.replaced[f"{repository.targets.version}.targets.json"] = other


def same_version_of_other_content(repository: Simulator, _: Path) -> None:
    """A timestamp is trusted, but the snapshot of that version was exchanged."""
    repository.snapshot.unrecognized_fields["other"] = "content"


def signed_by_a_stranger(role: str) -> Attack:
    def attack(repository: Simulator, _: Path) -> None:
        repository.signers[role] = [CryptoSigner.generate_ed25519() for _ in repository.signers[role]]
        if role == "root":
            repository.root.version += 1
            repository.publish_root()
        repository.issue()

    return attack


def targets_signed_by_the_server(repository: Simulator, _: Path) -> None:
    """The thief of the online keys signs targets with them."""
    repository.signers["targets"] = repository.signers["snapshot"]
    repository.issue()


def root_with_one_signature_of_two(repository: Simulator, _: Path) -> None:
    repository.root.version += 1
    repository.publish_root(signers=repository.signers["root"][:1])


def root_with_one_signature_twice(repository: Simulator, _: Path) -> None:
    repository.root.version += 1
    content = json.loads(repository.signed(repository.root, signers=repository.signers["root"][:1]))
    content["signatures"] *= 2
    repository.roots.append(json.dumps(content).encode())


def root_that_the_old_one_did_not_sign(repository: Simulator, _: Path) -> None:
    """New keys that sign themselves."""
    repository.replace_keys("root")
    repository.root.roles["root"].threshold = 1


def targets_with_one_signature_of_two(repository: Simulator, _: Path) -> None:
    repository.add_key("targets")
    repository.root.roles["targets"].threshold = 2
    repository.root.version += 1
    repository.publish_root()
    repository.signers["targets"].pop()
    repository.issue()


def truncated_metadata(repository: Simulator, _: Path) -> None:
    repository.replaced["timestamp.json"] = repository.signed(repository.timestamp)[:-20]


def truncated_targets(repository: Simulator, _: Path) -> None:
    whole = repository.signed(repository.targets)
    repository.replaced[f"{repository.targets.version}.targets.json"] = whole[:-20]


def truncated_file(repository: Simulator, _: Path) -> None:
    repository.files[_file("detector.onnx")] = NEWER["detector.onnx"][:-1]


def truncated_manifest(repository: Simulator, _: Path) -> None:
    repository.files[MANIFEST] = repository.files[MANIFEST][:-1]


def oversized_file(repository: Simulator, _: Path) -> None:
    repository.files[_file("detector.onnx")] += b"\0"


def oversized_timestamp(repository: Simulator, _: Path) -> None:
    repository.timestamp.unrecognized_fields["padding"] = "x" * 20_000


def altered_file(repository: Simulator, _: Path) -> None:
    repository.files[_file("detector.onnx")] = b"A" + NEWER["detector.onnx"][1:]


def exchanged_files(repository: Simulator, _: Path) -> None:
    one, other = _file("detector.onnx"), _file("classifier.onnx")
    repository.files[one], repository.files[other] = repository.files[other], repository.files[one]


def another_release_s_manifest(repository: Simulator, _: Path) -> None:
    """Even whoever signs targets cannot show release 3 as release 4 by mistake."""
    third = repository.files[manifest_target(name="probe", release=3)]
    note = repository.targets.targets[MANIFEST].custom
    repository.add_target(MANIFEST, third, custom=note)
    repository.issue()


def another_length_for_a_file(repository: Simulator, _: Path) -> None:
    path = _file("detector.onnx")
    signed = repository.targets.targets[path]
    repository.targets.targets[path] = TargetFile(signed.length + 1, signed.hashes, path)
    repository.issue()


def another_hash_for_a_file(repository: Simulator, _: Path) -> None:
    path = _file("detector.onnx")
    repository.add_target(path, repository.files[_file("classifier.onnx")].ljust(480, b"\0")[:480])
    repository.issue()


def file_not_listed(repository: Simulator, _: Path) -> None:
    del repository.targets.targets[_file("detector.onnx")]
    repository.issue()


def release_under_a_name(name: str) -> Attack:
    def attack(repository: Simulator, _: Path) -> None:
        note = {"release": 9, "id": "0" * 64, "size_bytes": 1, "rings": ["stable"]}
        repository.add_target(name, b"x", custom=note)
        repository.issue()

    return attack


def file_in_the_manifest_named(name: str) -> Attack:
    def attack(repository: Simulator, place: Path) -> None:
        content = manifest_content(NEWER) | {"release": 5}
        content["files"][name] = content["files"]["golden/answers.json"]
        write_files(place / "evil", NEWER)
        write_manifest(place / "evil", content)
        repository.add_bundle(place / "evil")

    return attack


def deep_json_unsigned(repository: Simulator, _: Path) -> None:
    repository.replaced["timestamp.json"] = b"[" * 16_000


def manifest(content: bytes) -> Attack:
    """Somebody signed these bytes as release 5's manifest."""

    def attack(repository: Simulator, _: Path) -> None:
        note = {"release": 5, "id": "0" * 64, "size_bytes": len(content), "rings": ["stable"]}
        repository.add_target(manifest_target(name="probe", release=5), content, custom=note)
        repository.issue()

    return attack


def manifest_of_many_files(repository: Simulator, place: Path) -> None:
    content = manifest_content(NEWER) | {"release": 5}
    content["files"] |= {f"f/{each}": content["files"]["golden/answers.json"] for each in range(3000)}
    write_files(place / "evil", NEWER)
    write_manifest(place / "evil", content)
    repository.add_bundle(place / "evil")


def manifest_of_huge_files(repository: Simulator, place: Path) -> None:
    content = manifest_content(NEWER) | {"release": 5}
    content["files"]["detector.onnx"] = {"sha256": "0" * 64, "size_bytes": 10**15}
    write_files(place / "evil", NEWER)
    write_manifest(place / "evil", content)
    repository.add_bundle(place / "evil")


def size_that_is_not_the_files(repository: Simulator, place: Path) -> None:
    repository.add_bundle(place / "fourth", size_bytes=7)


def release_twice(repository: Simulator, _: Path) -> None:
    note = repository.targets.targets[MANIFEST].custom
    repository.add_target(manifest_target(name="other", release=4), b"x", custom=note)
    repository.issue()


def note_that_is_none(repository: Simulator, _: Path) -> None:
    repository.add_target(manifest_target(name="other", release=5), b"x", custom=[1, 2])
    repository.issue()


def note_of_another_release(repository: Simulator, _: Path) -> None:
    note = repository.targets.targets[MANIFEST].custom
    repository.add_target(manifest_target(name="probe", release=9), b"x", custom=note)
    repository.issue()


def issued_in_the_future(repository: Simulator, _: Path) -> None:
    """Seen from a station whose clock was set back, all true metadata are of the future."""
    repository.issue_timestamp(issued="2199-01-01T00:00:00Z")


def issued_at_no_time(repository: Simulator, _: Path) -> None:
    repository.issue_timestamp(issued="yesterday")


def _file(name: str) -> str:
    return file_target(manifest_content(NEWER)["files"][name]["sha256"])


ATTACKS: list[tuple[Attack, str]] = [
    (older_timestamp, "older metadata than this station has seen.*timestamp version 1"),
    (older_snapshot, "older metadata than this station has seen.*snapshot version"),
    (older_targets, "older metadata than this station has seen.*targets.json version"),
    (targets_left_out, "not what was signed"),
    (root_again, "older metadata.*Expected root version 2 instead got version 1"),
    *((expired(role), "out of date.*expired") for role in ("root", "targets", "snapshot", "timestamp")),
    (snapshot_of_another_state, "not what was signed|older metadata"),
    (targets_of_another_state, "not what was signed"),
    (same_version_of_other_content, "not what was signed"),
    *(
        (signed_by_a_stranger(role), "not signed by keys that this station trusts")
        for role in ("root", "targets", "snapshot", "timestamp")
    ),
    (targets_signed_by_the_server, "targets was signed by 0/1 keys"),
    (root_with_one_signature_of_two, "root was signed by 1/2 keys"),
    (root_with_one_signature_twice, "Multiple signatures found"),
    (root_that_the_old_one_did_not_sign, "root was signed by 0/2 keys"),
    (targets_with_one_signature_of_two, "targets was signed by 1/2 keys"),
    (truncated_metadata, "not what was signed.*JSON"),
    (truncated_targets, "not what was signed.*length"),
    (truncated_file, "not what was signed.*length"),
    (truncated_manifest, "not what was signed.*length"),
    (oversized_file, "longer than the 480 bytes allowed"),
    (oversized_timestamp, "longer than the 16384 bytes allowed"),
    (altered_file, "not what was signed.*hash"),
    (exchanged_files, "not what was signed"),
    (another_release_s_manifest, "is of probe release 3"),
    (another_length_for_a_file, "another length or hash than the manifest"),
    (another_hash_for_a_file, "another length or hash than the manifest"),
    (file_not_listed, "signs no target files/"),
    *(
        (release_under_a_name(name), "not one of a release")
        for name in (
            "releases/../../../etc/9/manifest.json",
            "releases/probe/9/../../../manifest.json",
            "releases//9/manifest.json",
            "releases/probe/09/manifest.json",
            "releases/probe/9/manifest.json/",
            "releases/probe/9/manifest.json\n",
            "releases/PROBE/9/manifest.json",
            "releases/probe/9999999999/manifest.json",
        )
    ),
    *(
        (file_in_the_manifest_named(name), "cannot be used|which no file of a bundle may be named")
        for name in (
            "../../station/active/detector.onnx",
            "/etc/passwd",
            "golden/../../x",
            ".incoming/file",
            "golden\\x",
            "manifest.json",
            "detector.onnx/inside",
            "x" * 201,
            "",
        )
    ),
    (deep_json_unsigned, "not what was signed.*JSON"),
    (manifest(b"[" * 500_000), "cannot be used.*not JSON"),
    (manifest(b"9" * 900_000), "cannot be used"),
    (manifest(b" " * 1_100_000), "is signed as 1100000 bytes; 1048576 are allowed"),
    (manifest_of_many_files, "has 3005 files; 2000 are allowed"),
    (manifest_of_huge_files, "its largest file 1000000000000000"),
    (size_that_is_not_the_files, "is signed as 7 bytes, but its files have"),
    (release_twice, "signs release 4 twice"),
    (note_that_is_none, "carries no note"),
    (note_of_another_release, "signed as release 4: the two contradict each other"),
    (issued_in_the_future, "clock says .* good at 2199-01-01"),
    (issued_at_no_time, "'yesterday', which is no time"),
]
