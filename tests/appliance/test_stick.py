"""A stick, from its label to a bundle that proved itself: udev, the mount, the units under a real systemd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.errors import UntrustedError
from edge.update.store import UpdateBusyError
from tests.appliance.conftest import REPOSITORY, Install
from tests.appliance.machine import Machine, require_machine
from tests.appliance.sticks import (
    filled_stick,
    make_image,
    plugged_in,
    require_block_devices,
)

SCRIPT = REPOSITORY / "firmware_config" / "leukoscope-stick"
RULES = REPOSITORY / "firmware_config" / "99-leukoscope-stick.rules"
UNIT = REPOSITORY / "systemd" / "leukoscope-stick@.service"
LEDGER = "/var/lib/leukoscope/update/journal.json"


def in_own_mounts(script: str, **named: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script whose mounts are gone with it."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-eu", "-c", script],
        env={**os.environ, **{name: str(value) for name, value in named.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


class TestTheMount:
    @pytest.fixture(autouse=True)
    def devices(self) -> None:
        require_block_devices()

    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        content = tmp_path / "content"
        content.mkdir()
        (content / "run-me").write_text("#!/bin/sh\necho ran\n")
        (content / "run-me").chmod(0o4755)
        return make_image(tmp_path / "stick.img", content=content, size="8M")

    def test_it_can_be_read_and_nothing_else(self, image: Path, tmp_path: Path) -> None:
        done = in_own_mounts(
            """
            "$SCRIPT" mount "$IMAGE" "$PLACE/at"
            grep "$PLACE/at" /proc/self/mountinfo
            cat "$PLACE/at/run-me"
            ! "$PLACE/at/run-me"
            ! touch "$PLACE/at/new"
            "$SCRIPT" unmount "$PLACE/at"
            test ! -e "$PLACE/at"
            """,
            SCRIPT=SCRIPT,
            IMAGE=image,
            PLACE=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert " ro,nosuid,nodev,noexec" in done.stdout
        assert "norecovery" in done.stdout, "what a journal holds is not written either"
        assert "Permission denied" in done.stderr
        assert "Read-only file system" in done.stderr
        assert "\nran\n" not in done.stdout

    def test_not_a_byte_of_it_is_changed(self, image: Path, tmp_path: Path) -> None:
        before = image.read_bytes()
        done = in_own_mounts(
            '"$SCRIPT" mount "$IMAGE" "$PLACE/at"; ls "$PLACE/at"; "$SCRIPT" unmount "$PLACE/at"',
            SCRIPT=SCRIPT,
            IMAGE=image,
            PLACE=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert image.read_bytes() == before

    def test_what_an_interrupted_run_left_mounted_is_taken_away_first(
        self, image: Path, tmp_path: Path
    ) -> None:
        done = in_own_mounts(
            """
            "$SCRIPT" mount "$IMAGE" "$PLACE/at"
            "$SCRIPT" mount "$IMAGE" "$PLACE/at"
            grep --count "$PLACE/at" /proc/self/mountinfo
            """,
            SCRIPT=SCRIPT,
            IMAGE=image,
            PLACE=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("\n1\n")

    def test_a_broken_file_system_is_named(self, image: Path, tmp_path: Path) -> None:
        content = bytearray(image.read_bytes())
        content[1024 + 4 : 1024 + 8] = b"\xff\xff\xff\xff"  # the superblock's count of blocks
        image.write_bytes(content)
        done = in_own_mounts(
            '"$SCRIPT" mount "$IMAGE" "$PLACE/at"', SCRIPT=SCRIPT, IMAGE=image, PLACE=tmp_path
        )
        assert done.returncode == 74
        assert "cannot be mounted as ext4" in done.stderr
        assert not (tmp_path / "at").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mount", "/dev/no-such-stick", "/nowhere"], 66, "was pulled out"),
        (["mount", SCRIPT, "/nowhere"], 65, "holds no file system"),
        (["mount"], 64, "usage"),
        (["erase", "a", "b"], 64, "usage"),
        ([], 64, "usage"),
    ],
)
def test_wrong_sticks_and_wrong_use_are_named(arguments: list[object], code: int, said: str) -> None:
    done = subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr


def test_taking_away_what_was_never_mounted_is_no_fault(tmp_path: Path) -> None:
    done = subprocess.run([SCRIPT, "unmount", tmp_path / "never"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def asked_of_udev(image: Path, *, bus: str) -> str:
    """What udev makes of a block device with ``image`` on a bus of that name."""
    with plugged_in(image) as device:
        done = in_own_mounts(
            """
            mount -t tmpfs tmpfs /run
            mount -t tmpfs tmpfs /etc/udev/rules.d
            cp "$RULES" /etc/udev/rules.d/
            echo "ENV{ID_BUS}=\\"$BUS\\"" >/etc/udev/rules.d/98-bus.rules
            mount -t tmpfs tmpfs /mnt
            cp -a /dev/null "/dev/$DEVICE" /mnt/
            mount --move /mnt /dev
            udevadm test --action=add "/sys/class/block/$DEVICE" 2>&1
            """,
            RULES=RULES,
            BUS=bus,
            DEVICE=device,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"leukoscope-stick@{device}.service" in done.stdout or "leukoscope-stick@" not in done.stdout
    return done.stdout


class TestWhatUdevMakesOfIt:
    @pytest.fixture(autouse=True)
    def udev(self) -> None:
        require_block_devices()
        if shutil.which("udevadm") is None:
            pytest.skip("udev is not installed")

    def test_a_labelled_stick_is_looked_at_and_no_desktop_mounts_it(self, tmp_path: Path) -> None:
        said = asked_of_udev(make_image(tmp_path / "stick.img", size="8M"), bus="usb")
        assert "\nSYSTEMD_WANTS=leukoscope-stick@" in said
        assert "\nUDISKS_AUTO=0\n" in said
        assert "\nTAGS=:systemd:\n" in said

    @pytest.mark.parametrize(("label", "bus"), [("HOLIDAY", "usb"), ("", "usb"), ("LEUKOSCOPE", "ata")])
    def test_every_other_is_left_alone(self, tmp_path: Path, label: str, bus: str) -> None:
        said = asked_of_udev(make_image(tmp_path / "stick.img", label=label, size="8M"), bus=bus)
        assert "\nID_FS_TYPE=ext4\n" in said, "udev has looked at it"
        assert "SYSTEMD_WANTS" not in said
        assert "UDISKS_AUTO" not in said

    def test_an_empty_stick_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "stick.img").write_bytes(b"\0" * 1024 * 1024)
        assert "SYSTEMD_WANTS" not in asked_of_udev(tmp_path / "stick.img", bus="usb")


class Bench:
    """A machine that was made a station, and a stick with a better bundle for it."""

    def __init__(self, place: Path, install: Install) -> None:
        stick, root, self.bundle = filled_stick(place)
        stage = place / "root"
        stage.mkdir()
        (place / "root.json").write_bytes(root)
        done = install("--root", stage, "--role", "station", "--update-root", place / "root.json")
        assert done.returncode == 0, done.stderr
        (stage / "etc/leukoscope/station.toml").write_text(
            'site = "lab"\nstation = "scope-1"\n[camera]\nkind = "virtual_slide"\nseed = 1\n'
            '[update]\nrepository = "https://bundles.example/"\nroot = "update-root.json"\n'
            "reserve_bytes = 0\n"
        )
        self.image = make_image(place / "stick.img", content=stick)
        self._looking = stage / "etc/systemd/system/leukoscope-stick@.service.d"
        self.machine = Machine(stage=stage, out=place / "out")

    def drop_in(self, line: str) -> None:
        """Add to the unit; an ``ExecStartPre=`` runs in its own sandbox, when the stick is mounted."""
        self._looking.mkdir(exist_ok=True)
        (self._looking / f"{len(list(self._looking.iterdir()))}.conf").write_text(f"[Service]\n{line}\n")

    def ledger(self, kept: str = "journal.json") -> dict[str, object]:
        found = json.loads((self.machine.out / kept).read_text())
        assert isinstance(found, dict)
        return found

    def is_proved(self, kept: str = "journal.json") -> bool:
        attempt = self.ledger(kept)["attempt"]
        return (
            isinstance(attempt, dict)
            and attempt["offer"]["id"] == self.bundle.manifest.id
            and bool(attempt["proof"])
        )


PLUG_IN = """
chgrp -R leukoscope /etc/leukoscope
unit=leukoscope-stick@$DEVICE.service
systemctl start $unit
"""
LOOK_BACK = """
wait_for $unit ActiveState=inactive ActiveState=failed
wait_for leukoscope-stick-mount@$DEVICE.service ActiveState=inactive
systemctl show $unit --property=Result,ExecMainStatus,NRestarts
echo mounts: $(grep -c leukoscope-stick /proc/mounts)
echo left: $(ls -A /run/leukoscope-stick)
echo updates: $(stat -c %U:%a /var/lib/leukoscope/update)
cp /var/lib/leukoscope/update/journal.json /run/out/ || echo no attempt was begun
"""


class TestUnderSystemd:
    @pytest.fixture(autouse=True)
    def somewhere(self) -> None:
        require_block_devices()
        require_machine()

    @pytest.fixture
    def bench(self, tmp_path: Path, install: Install) -> Bench:
        return Bench(tmp_path, install)

    def test_a_better_bundle_comes_from_a_stick_and_proves_itself(self, bench: Bench) -> None:
        bench.drop_in("ExecStartPre=/bin/sh -c 'id; nice; grep leukoscope-stick /proc/self/mountinfo'")
        bench.drop_in("ExecStartPre=/bin/sh -c 'cat /dev/%i || echo links: $(ls /sys/class/net)'")
        with plugged_in(bench.image) as device:
            done = bench.machine.run(f"DEVICE={device}\n{PLUG_IN}{LOOK_BACK}")
        assert done.status == 0, done
        assert "Result=success" in done.said, done
        assert "NRestarts=0" in done.said
        assert "mounts: 0\nleft:\nupdates: leukoscope:750\n" in done.said
        assert bench.is_proved(), done
        assert "starter release" in done.units
        assert "(leukoscope)" in done.units
        assert "\n10\n" in done.units, "the station goes first"
        assert " ro,nosuid,nodev,noexec" in done.units
        assert "links: lo\n" in done.units, "it has neither the device nor a network"
        assert "telemetry" not in done.units, "the networks' runtime tells nobody how it is used"

    @pytest.mark.nightly  # boots a machine, as the first does
    def test_a_stick_that_is_pulled_out_is_a_download_that_failed_and_comes_again(self, bench: Bench) -> None:
        pulled = bench.machine.out / "pulled.img"
        shutil.copy(bench.image, pulled)
        # Names and metadata were read, and are remembered; whatever is read next, the kernel answers with an
        # error, as it does for a stick that is gone.
        (bench.machine.out / "pull").write_text(
            "cd /run/leukoscope-stick/$1\nfind . -ls\ncat leukoscope/metadata/* | wc -c\n"
            "if [ -e /run/out/pulled.img ]; then truncate -s 4K /run/out/pulled.img; fi\n"
        )
        bench.drop_in("ExecStartPre=+/bin/sh -eu /run/out/pull %i")
        with plugged_in(pulled) as first, plugged_in(bench.image) as second:
            done = bench.machine.run(
                f"DEVICE={first}\n{PLUG_IN}{LOOK_BACK}"
                f"rm /run/out/pulled.img\nDEVICE={second}\n{PLUG_IN}{LOOK_BACK}"
            )
        assert done.status == 0, done
        assert ": failed, " in done.units, done
        assert "cannot be read: Input/output error" in done.units
        assert done.said.count("mounts: 0\nleft:\n") == 2, done
        assert done.said.index("Result=exit-code") < done.said.index("Result=success"), done
        assert bench.is_proved(), done

    @pytest.mark.nightly  # boots a machine, as the first does
    def test_a_stick_waits_while_another_is_at_work(self, bench: Bench) -> None:
        bench.drop_in("RestartSec=100ms")
        busy = "wait_for $unit ExecMainStatus=75\nkill $holder\n"
        lock = (
            "install -d -o leukoscope -g leukoscope /var/lib/leukoscope /var/lib/leukoscope/update\n"
            "sh -c 'exec 9>/var/lib/leukoscope/update/lock; chown leukoscope /var/lib/leukoscope/update/lock;"
            " flock 9; touch /run/locked; exec sleep infinity' &\nholder=$!\n"
            "until [ -e /run/locked ]; do sleep 0.1; done\n"
        )
        with plugged_in(bench.image) as device:
            done = bench.machine.run(f"DEVICE={device}\n{lock}{PLUG_IN}{busy}{LOOK_BACK}")
        assert done.status == 0, done
        assert "is at work on the updates in" in done.units
        assert "Result=success" in done.said, done
        assert bench.is_proved(), done

    @pytest.mark.nightly  # boots a machine, as the first does
    def test_a_stick_of_strangers_is_refused(self, bench: Bench, tmp_path: Path) -> None:
        stick, _, _ = filled_stick(tmp_path / "strangers")
        forged = make_image(tmp_path / "forged.img", content=stick)
        with plugged_in(forged) as device:
            done = bench.machine.run(f"DEVICE={device}\n{PLUG_IN}{LOOK_BACK}")
        assert done.status == 0, done
        assert f"ExecMainStatus={UntrustedError.exit_code}\n" in done.said, done
        assert "mounts: 0\nleft:\n" in done.said
        assert "no attempt was begun" in done.said


def test_the_stick_waits_for_exactly_the_one_fault_that_goes_by_itself() -> None:
    assert f"\nRestartForceExitStatus={UpdateBusyError.exit_code}\n" in UNIT.read_text()
    assert "\nRestart=" not in UNIT.read_text()
