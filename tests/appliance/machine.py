"""A machine for an afternoon: this system's files, what is to be tried on top, and a systemd of its own.

Nothing leaves it: its processes, mounts, network and cgroups are namespaces, and what it writes to its files
is kept in memory and gone at its end. It needs root, and kernel parts that containers often lack.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

_SYSTEMD: Final = Path("/lib/systemd/systemd")
_HIDDEN: Final = ("/home/", "/root/", "/tmp/")  # noqa: S108 - what sandboxed units do not see
_SOURCE: Final = Path(__file__).parents[2]
_END_S: Final = 10.0
_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"

# Of this system's units, those that want hardware, or write where they should not here.
_MASKED: Final = (
    *(
        f"systemd-{name}.service"
        for name in (
            "udevd", "udev-trigger", "networkd", "journald", "resolved", "timesyncd", "logind", "sysctl",
            "tmpfiles-setup", "tmpfiles-setup-dev", "modules-load", "remount-fs", "update-utmp",
            "journal-flush", "random-seed", "pstore", "binfmt",
        )
    ),
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount", "dev-hugepages.mount", "dev-mqueue.mount",
    "proc-sys-fs-binfmt_misc.automount", "mosquitto.service",
)  # fmt: skip

_JOB_UNIT: Final = """\
[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh -eu /run/out/job >/run/out/said 2>&1; echo $? >/run/out/status'
"""

# A Python that lies in a home directory is not seen where it was built to look for its own library.
_EVERY_SERVICE: Final = """\
[Service]
StandardOutput=append:/run/out/units
Environment=LD_LIBRARY_PATH=/opt/python/lib
"""

_JOB_BEGINS: Final = """\
useradd --system --user-group --no-create-home leukoscope
# wait_for UNIT PROPERTY=VALUE...: until the unit has one of these; the job ends where that never is.
wait_for() {
    watched=$1; shift
    tries=0
    while :; do
        for wanted; do
            if [ "$(systemctl show "$watched" --property="${wanted%%=*}")" = "$wanted" ]; then return; fi
        done
        tries=$((tries + 1))
        if [ $tries -gt 2000 ]; then systemctl --no-pager status "$watched"; exit 1; fi
        sleep 0.1
    done
}
"""

_START: Final = """\
echo $$ >"$CGROUP/cgroup.procs"
exec unshare --mount --pid --fork --cgroup --net --uts --ipc --kill-child sh -c "$BOOT"
"""

_BOOT: Final = """\
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/root /mnt/up2 /mnt/work2
root=/mnt/root
cp -a "$STAGE/." /mnt/up
cp -a "$STAGE/opt/leukoscope/." /mnt/up2
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work $root
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount --rbind /dev $root/dev
mount -t tmpfs tmpfs $root/run
mount -t tmpfs tmpfs $root/tmp
mkdir -p $root/run/out $root/opt/python
mount --bind "$OUT" $root/run/out
mount --bind "$PYTHON" $root/opt/python
mount -t overlay overlay -o "lowerdir=$SOFTWARE,upperdir=/mnt/up2,workdir=/mnt/work2" $root/opt/leukoscope
cd $root
exec chroot $root /usr/bin/env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=job.service --log-target=console --show-status=no
"""


def _why_not() -> str:
    """Why no machine can be started here; empty where one can."""
    if os.geteuid() != 0:
        return "only root can start a systemd of its own"
    if not _SYSTEMD.exists() or shutil.which("unshare") is None:
        return "systemd or unshare is not installed"
    known = Path("/proc/filesystems").read_text()
    if lacking := [each for each in ("overlay", "cgroup2", "ext4") if f"\t{each}\n" not in known]:
        return f"this kernel has no {', '.join(lacking)}"
    if f"{_SOURCE}/".startswith(_HIDDEN):
        return f"sandboxed units do not see the source in {_SOURCE}"
    try:
        with _cgroup():
            pass
    except OSError as error:
        return f"no cgroup can be made here ({error})"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "--net", "--uts", "--ipc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"unshare: {tried.stderr.strip()}" if tried.returncode else ""


@contextmanager
def _cgroup() -> Iterator[Path]:
    """A cgroup of this test's own, which is the machine's root."""
    roots = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line]
    if not roots:
        raise FileNotFoundError("no cgroup2 is mounted")
    place = Path(roots[0]) / f"leukoscope-test-{os.getpid()}"
    place.mkdir()
    try:
        yield place
    finally:
        # A machine that was cut short may still be dying.
        deadline_s = time.monotonic() + _END_S
        while "populated 1" in (place / "cgroup.events").read_text() and time.monotonic() < deadline_s:
            (place / "cgroup.kill").write_text("1")
        for folder, _, _ in os.walk(place, topdown=False):
            Path(folder).rmdir()


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a job ended: its status, what it said, and what every unit said."""

    status: int
    said: str
    units: str

    def __str__(self) -> str:
        return f"status {self.status}\n{self.said}\n--- units\n{self.units}"


class Machine:
    """A machine with the files of ``stage``, software in ``/opt/leukoscope``; ``out`` is its only way out."""

    def __init__(self, *, stage: Path, out: Path) -> None:
        self._stage = stage
        self.out = out
        out.mkdir()
        software = stage / "opt/leukoscope"
        (software / "bin").mkdir(parents=True, exist_ok=True)
        (software / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
        (software / "bin/python").symlink_to(f"/opt/python/bin/{_PYTHON}")
        for name, module in (("leukoscope-edge", "edge.cli"), ("leukoscope-export", "export.entry")):
            program = software / "bin" / name
            program.write_text(f"#!/opt/leukoscope/bin/python\nfrom {module} import main\nmain()\n")
            program.chmod(0o755)
        units = stage / "etc/systemd/system"
        for name in _MASKED:
            (units / name).symlink_to("/dev/null")
        (units / "job.service").write_text(_JOB_UNIT)
        (units / "service.d").mkdir()
        (units / "service.d/machine.conf").write_text(_EVERY_SERVICE)

    def run(self, job: str, *, timeout_s: float = 280) -> Done:
        """Boot, run the shell script ``job`` as root, and switch off.

        A job can ``wait_for UNIT PROPERTY=VALUE...``. Its first command that fails is its end.
        """
        (self.out / "job").write_text(f"{_JOB_BEGINS}{job}")
        (self.out / "units").touch()
        with _cgroup() as cgroup, (self.out / "console").open("w") as console:
            subprocess.run(
                ["sh", "-c", _START],
                env={
                    **os.environ,
                    "CGROUP": str(cgroup),
                    "BOOT": _BOOT,
                    "STAGE": str(self._stage),
                    "OUT": str(self.out),
                    "PYTHON": sys.base_prefix,
                    "SOFTWARE": sys.prefix,
                },
                stdout=console,
                stderr=console,
                check=False,
                timeout=timeout_s,
            )
        status = self.out / "status"
        assert status.exists(), (self.out / "console").read_text()
        return Done(
            status=int(status.read_text()),
            said=(self.out / "said").read_text(),
            units=(self.out / "units").read_text(),
        )


def require_machine() -> None:
    """Skip the test where no machine can be started, and say why."""
    if reason := _why_not():
        pytest.skip(f"no systemd of its own can be started here: {reason}")
