"""What somebody can do who holds the server, the network, the stick, or some of the keys: all is refused.

Each attack meets a station that has taken true metadata before, and comes from memory, over HTTPS and on a
stick. After it the active bundle is as it was, and nothing stands under a final name but what is true.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
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
from edge.update.catalogue import manifest_target
from edge.update.limits import Limits
from edge.update.sources import Source, directory_source, https_source
from tests.edge.bundles import FILES, write_bundle, write_files
from tests.edge.update.attacks import ATTACKS, NEWER, Attack
from tests.edge.update.https_server import https_server, make_authority
from tests.edge.update.simulator import Simulator
from tests.edge.update.stations import Station, fetch, write_release


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
