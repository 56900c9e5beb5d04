"""What somebody can do who holds the server, the network, the stick, or some of the keys: all is refused.

Each attack meets a station that has taken true metadata before, and comes from memory, over HTTPS and on a
stick. After it the active bundle is as it was, and nothing stands under a final name but what is true.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets

from edge.bundle import open_bundle
from edge.errors import DeliveryError, UntrustedError
from edge.update.catalogue import file_target, manifest_target
from edge.update.limits import Limits
from edge.update.sources import Source, directory_source, https_source
from tests.edge.bundles import FILES, manifest_content, write_bundle, write_files, write_manifest
from tests.edge.update.https_server import https_server, make_authority
from tests.edge.update.simulator import Simulator
from tests.edge.update.stations import Station, fetch, write_release

PAST = datetime.now(timezone.utc) - timedelta(hours=1)
NEWER = {**FILES, "detector.onnx": b"a newer detector" * 30}
MANIFEST = manifest_target(name="probe", release=4)

Attack = Callable[[Simulator, Path], None]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=["memory", "https", "stick"])
def station(
    request: pytest.FixtureRequest, authority: tuple[Path, Path], tmp_path: Path
) -> Iterator[Station]:
    """A station that has seen release 3; since then release 4 was published."""
    repository = Simulator()
    repository.add_bundle(write_bundle(tmp_path / "third"))

    def answer(path: str, _: object) -> Iterator[bytes]:
        try:
            yield from repository._fetch(f"memory:///{path.lstrip('/')}")
        except DownloadHTTPError as error:
            raise FileNotFoundError from error

    def stick() -> Source:
        write_files(tmp_path / "stick", {})
        for old in sorted((tmp_path / "stick").rglob("*")):
            if old.is_file():
                old.unlink()
        write_files(tmp_path / "stick", repository.listing())
        return directory_source(tmp_path / "stick")

    if request.param == "https":
        with https_server(authority[1], lambda path, handler: list(answer(path, handler))) as url:
            yield _prepared(
                Station(
                    repository, tmp_path / "station", source=lambda: https_source(url, ca_file=authority[0])
                ),
                tmp_path,
            )
    else:
        source = stick if request.param == "stick" else None
        yield _prepared(Station(repository, tmp_path / "station", source=source), tmp_path)


def _prepared(station: Station, place: Path) -> Station:
    offer = station.delivery().newest()
    assert offer is not None
    assert offer.release == 3
    station.repository.add_bundle(write_release(place / "fourth", 4, files=NEWER))
    return station


def test_without_an_attack_the_new_release_is_taken(station: Station) -> None:
    delivery = station.delivery()
    fetch(delivery, delivery.newest(), into=station.into)
    assert open_bundle(station.into).manifest.release == 4


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


@pytest.mark.parametrize(
    ("attack", "refusal"),
    ATTACKS,
    ids=[f"{n}-{each[0].__qualname__.split('.')[0]}" for n, each in enumerate(ATTACKS)],
)
def test_an_attack_is_refused_and_harms_nothing(
    station: Station, tmp_path: Path, attack: Attack, refusal: str
) -> None:
    attack(station.repository, tmp_path)
    delivery = station.delivery()
    with pytest.raises(UntrustedError, match=f"(?s){refusal}") as refused:
        fetch(delivery, delivery.newest(), into=station.into)
    assert refused.value.remedy
    station.is_unharmed(NEWER)


@pytest.mark.parametrize("what", ["timestamp.json", "2.root.json", "targets/files/", "manifest.json"])
def test_endless_data_end_at_the_length_that_was_signed_or_is_allowed(tmp_path: Path, what: str) -> None:
    repository = Simulator()
    repository.add_bundle(write_bundle(tmp_path / "bundle"))
    station = Station(repository, tmp_path / "station")
    sent = itertools.count()
    repository.replaced[what] = (b"x" * 1000 for _ in sent)
    delivery = station.delivery()
    with pytest.raises(UntrustedError, match=r"is longer than the \d+ bytes allowed"):
        fetch(delivery, delivery.newest(), into=station.into)
    assert next(sent) <= 600, "no more than the largest root"
    station.is_unharmed(FILES)


def test_a_length_that_was_signed_for_metadata_is_bounded_too(tmp_path: Path) -> None:
    """The thief of the online keys signs a snapshot of any length: it would have to fit into memory."""
    repository = Simulator()
    station = Station(repository, tmp_path / "station")
    sent = itertools.count()
    repository.replaced["snapshot.json"] = (b"x" * 100_000 for _ in sent)
    repository.issue_timestamp()
    repository.timestamp.snapshot_meta.length = 10**12
    with pytest.raises(UntrustedError, match="is longer than the 4194304 bytes allowed"):
        station.delivery().newest()
    assert next(sent) <= 50


def test_slow_data_end_when_their_time_is_over(tmp_path: Path) -> None:
    repository = Simulator()
    repository.add_bundle(write_bundle(tmp_path / "bundle"))
    station = Station(repository, tmp_path / "station")
    now_s = itertools.count(step=20)
    repository.replaced["timestamp.json"] = (b" " for _ in itertools.count())
    delivery = station.delivery(limits=Limits(base_s=60))
    delivery._monotonic = lambda: float(next(now_s))
    with pytest.raises(DeliveryError, match=r"timestamp\.json did not come within 60 s") as refused:
        delivery.newest()
    assert not isinstance(refused.value, UntrustedError), "a slow line is no crime"


def test_a_clock_that_was_set_back_is_not_believed(station: Station) -> None:
    """An expired repository would be young again."""
    station.clock = lambda: datetime.now(timezone.utc) - timedelta(days=3)
    with pytest.raises(UntrustedError, match=r"clock says .* UTC, but .* was good at .*timedatectl"):
        station.delivery().newest()
    station.clock = lambda: datetime.now(timezone.utc) - timedelta(minutes=5)
    assert station.delivery().newest() is not None, "two honest clocks differ"


def test_a_first_clock_before_the_signature_is_not_believed(tmp_path: Path) -> None:
    station = Station(Simulator(), tmp_path / "station")
    station.clock = lambda: datetime(1970, 1, 1, tzinfo=timezone.utc)
    with pytest.raises(UntrustedError, match="clock says 1970-01-01"):
        station.delivery().newest()


def test_enormous_versions_of_a_thief_are_forgotten_with_his_keys(station: Station) -> None:
    repository = station.repository
    repository.timestamp.version = repository.snapshot.version = 10**9
    repository.issue_snapshot()
    assert station.delivery().newest() is not None, "nothing tells it from a true one"
    repository.timestamp.version = repository.snapshot.version = 10
    repository.issue_snapshot()
    with pytest.raises(UntrustedError, match="older metadata"):
        station.delivery().newest()
    repository.replace_keys("timestamp", "snapshot")
    repository.issue_snapshot()
    offer = station.delivery().newest()
    assert offer is not None
    assert offer.release == 4


def test_metadata_that_were_kept_are_not_lost_to_a_killed_process(station: Station) -> None:
    station.delivery().newest()
    (station.state / "metadata" / "tmpabandoned").write_bytes(b"half a file")
    station.repository.timestamp.version = 1
    with pytest.raises(UntrustedError, match="older metadata"):
        station.delivery().newest()
    assert not (station.state / "metadata" / "tmpabandoned").exists()


def test_a_role_that_the_targets_delegate_to_offers_nothing(station: Station) -> None:
    """Only the targets role offers bundles: a delegation would be a second way in."""
    repository = station.repository
    helper = CryptoSigner.generate_ed25519()
    delegated = DelegatedRole("helper", [], 1, False, paths=["releases/*/*/*"])
    repository.targets.delegations = Delegations({}, {"helper": delegated})
    repository.targets.add_key(helper.public_key, "helper")
    listed = Targets(expires=repository.targets.expires)
    path = manifest_target(name="probe", release=9)
    listed.targets[path] = TargetFile(1, {"sha256": "0" * 64}, path)
    repository.signers["targets"], kept = [helper], repository.signers["targets"]
    repository.replaced["helper.json"] = repository.signed(listed)
    repository.signers["targets"] = kept
    repository.snapshot.meta["helper.json"] = repository._meta(listed)
    repository.issue()
    repository.asked.clear()
    offer = station.delivery().newest()
    assert offer is not None
    assert offer.release == 4
    assert not [each for each in repository.asked if "helper" in each]


def test_the_root_is_followed_through_every_rotation(station: Station) -> None:
    for roles in (("targets",), ("root",), ("snapshot", "timestamp"), ("targets",)):
        before = [*station.repository.signers["root"]]
        station.repository.replace_keys(*roles)
        if "root" in roles:  # old and new holders sign
            station.repository.root.roles["root"].threshold = 1
            both = [*before, *station.repository.signers["root"]]
            station.repository.roots[-1] = station.repository.signed(station.repository.root, signers=both)
    station.repository.issue()
    delivery = station.delivery()
    fetch(delivery, delivery.newest(), into=station.into)
    open_bundle(station.into)


@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_spoilt_answer_is_refused_or_makes_no_difference(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("spoilt")
    repository = Simulator()
    repository.add_bundle(write_bundle(place / "bundle"))
    station = Station(repository, place / "station")
    whole = repository.listing()
    name = data.draw(st.sampled_from([each for each in sorted(whole) if each != "metadata/1.root.json"]))
    content = bytearray(whole[name])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    repository.replaced[name] = bytes(content)
    delivery = station.delivery()
    try:
        fetch(delivery, delivery.newest(), into=station.into)
    except UntrustedError:
        station.is_unharmed(FILES)
    else:
        assert {each: (station.into / each).read_bytes() for each in FILES} == FILES
