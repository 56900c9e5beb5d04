"""The doctor's look at what the station stands on: disk, rights, clock, ports, and systemd's unit."""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from edge.contract.message import ClockState
from edge.doctor.finding import Finding, Grade
from edge.errors import StorageError
from edge.validation.machine import Ask, ask_program

UNIT: Final = "leukoscope-station.service"
ENOUGH_DISK_BYTES: Final = 2 * 1024**3
FIRST_PLAUSIBLE_YEAR: Final = 2026
SHORTEST_WATCHDOG_S: Final = 5.0
"""The station feeds it about once a second; a busy machine must be allowed to be late."""
_SECRET: Final = stat.S_IRWXG | stat.S_IRWXO
_DISK_REMEDIES: Final = {
    errno.ENOSPC: "Free some space on it: nothing is counted that cannot be saved.",
    errno.EDQUOT: "Raise this user's quota, or free some space.",
    errno.EROFS: "Mount it for writing; a disk that went read-only by itself is failing: look into `dmesg`.",
    errno.EIO: "The disk is failing: look into `dmesg`, and replace it.",
}
_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def disk(state_dir: Path, *, free_bytes: Callable[[Path], int] | None = None) -> Finding:
    """Whether results can be saved, and how many. Raises StorageError where none can."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=state_dir, prefix="doctor-") as trial:
            trial.write(b"\0" * 4096)
            trial.flush()
            os.fsync(trial.fileno())
        free = shutil.disk_usage(state_dir).free if free_bytes is None else free_bytes(state_dir)
    except OSError as error:
        raise StorageError(
            f"{state_dir} cannot be written: {error.strerror}.",
            remedy=_DISK_REMEDIES.get(
                error.errno or 0, "Name another state_dir, or give this user the right to write it."
            ),
        ) from error
    text = f"{state_dir} can be written, {free / 1024**3:.1f} GiB free."
    if free < ENOUGH_DISK_BYTES:
        remedy = "Free some space before it runs full."
        return Finding(part="disk", grade=Grade.DOUBTFUL, text=text, remedy=remedy)
    return Finding(part="disk", grade=Grade.GOOD, text=text)


def permissions(state_dir: Path, *, secrets: tuple[Path, ...] = ()) -> Finding:
    """Whether everything of the station belongs to one user, and its secrets to nobody else."""
    if not state_dir.is_dir():
        return Finding(part="rights", grade=Grade.GOOD, text=f"{state_dir} is not there yet.")
    owner = state_dir.stat().st_uid
    for place in (state_dir, *state_dir.iterdir()):
        if place.lstat().st_uid != owner:
            return Finding(
                part="rights",
                grade=Grade.BAD,
                text=f"{place} belongs to {_name(place.lstat().st_uid)}, and {state_dir} to {_name(owner)}: "
                "the station could not write both.",
                remedy=f"sudo chown -R {_name(owner)} {state_dir}",
            )
    for secret in secrets:
        if not os.access(secret, os.R_OK):
            why = "is not there" if not secret.exists() else "cannot be read by this user"
            return Finding(
                part="rights",
                grade=Grade.BAD,
                text=f"{secret} {why}.",
                remedy=f"Put it there, readable by {_name(owner)} alone (mode 0600).",
            )
        if secret.stat().st_mode & _SECRET:
            return Finding(
                part="rights",
                grade=Grade.DOUBTFUL,
                text=f"{secret} can be read by others than its owner.",
                remedy=f"chmod 600 {secret}",
            )
    return Finding(part="rights", grade=Grade.GOOD, text=f"everything in {state_dir} is {_name(owner)}'s.")


def clock(now: datetime, *, state: ClockState) -> Finding:
    """Whether the wall clock can be believed."""
    text = f"it is {now.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    if now.year < FIRST_PLAUSIBLE_YEAR:
        return Finding(
            part="clock",
            grade=Grade.BAD,
            text=f"{text}, which cannot be.",
            remedy="Set the clock (`timedatectl set-ntp true`): certificates are not valid at that time.",
        )
    if state == "unknown":
        return Finding(
            part="clock",
            grade=Grade.DOUBTFUL,
            text=f"{text}; whether it is synchronised cannot be told here.",
            remedy="Check with `timedatectl`.",
        )
    if state == "unsynchronised":
        return Finding(
            part="clock",
            grade=Grade.DOUBTFUL,
            text=f"{text}, not synchronised.",
            remedy="Turn on NTP (`timedatectl set-ntp true`); records are ordered without it.",
        )
    return Finding(part="clock", grade=Grade.GOOD, text=f"{text}, synchronised.")


def port(part: str, *, host: str, number: int, setting: str, station_runs: bool) -> Finding:
    """Whether the port of the page or the figures can be had; a running station has its own already."""
    if number == 0:
        return Finding(part=part, grade=Grade.GOOD, text="any free port will do.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, number))
            trial.listen(1)
        except (OSError, OverflowError) as error:
            return _no_port(part, f"{host} port {number}", setting, error, station_runs=station_runs)
    return Finding(part=part, grade=Grade.GOOD, text=f"{host} port {number} is free.")


def _no_port(
    part: str, where: str, setting: str, error: OSError | OverflowError, *, station_runs: bool
) -> Finding:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE and station_runs:
        return Finding(part=part, grade=Grade.GOOD, text=f"{where} is in use while the station runs.")
    if code == errno.EADDRINUSE:
        return Finding(
            part=part,
            grade=Grade.BAD,
            text=f"{where} is taken by another program.",
            remedy=f"Stop that program (ss -ltnp shows it), or choose another {setting}; 0 takes any.",
        )
    said = error.strerror if isinstance(error, OSError) else str(error)
    return Finding(
        part=part,
        grade=Grade.BAD,
        text=f"{where} cannot be used: {said}.",
        remedy=f"Choose an address that this machine has, and a {setting} from 1024 to 65535.",
    )


def watchdog(properties: Mapping[str, str] | None) -> Finding:
    """Whether systemd would notice a stuck station; ``properties`` as ``systemctl show`` gives them."""
    if properties is None or properties.get("LoadState") != "loaded":
        return Finding(
            part="watchdog",
            grade=Grade.DOUBTFUL,
            text=f"systemd knows no {UNIT} here: nobody restarts a station that is stuck.",
            remedy="Install it with firmware_config/install.sh.",
        )
    faults = list(_unit_faults(properties))
    if faults:
        return Finding(
            part="watchdog",
            grade=Grade.BAD,
            text=f"{UNIT}: {'; '.join(faults)}.",
            remedy=f"`systemctl revert {UNIT}` takes back what was changed.",
        )
    limit = properties["WatchdogUSec"]
    return Finding(part="watchdog", grade=Grade.GOOD, text=f"{UNIT} is restarted when silent for {limit}.")


def _unit_faults(properties: Mapping[str, str]) -> Iterator[str]:
    if properties.get("Type") not in {"notify", "notify-reload"}:
        yield f"Type={properties.get('Type')} does not listen to the station (notify does)"
    if properties.get("NotifyAccess") == "none":
        yield "NotifyAccess=none does not listen to the station (main does)"
    limit_s = seconds(properties.get("WatchdogUSec", ""))
    if limit_s is None:
        yield "WatchdogSec= is not set, so a stuck station is never noticed"
    elif limit_s < SHORTEST_WATCHDOG_S:
        yield f"WatchdogSec={limit_s:g} would end a station that is only busy"
    if properties.get("Restart") in {"no", "on-success", "on-abort"}:
        yield f"Restart={properties['Restart']} leaves a station that was ended ended (on-failure does not)"


def unit_properties(ask: Ask = ask_program) -> Mapping[str, str] | None:
    """What systemd holds of the station's unit; None where there is no systemd to be asked."""
    wanted = "LoadState,Type,NotifyAccess,WatchdogUSec,Restart,NRestarts"
    said = ask(("systemctl", "show", UNIT, f"--property={wanted}"))
    if said is None:
        return None
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


def seconds(span: str) -> float | None:
    """A time span as systemd writes it, ``1min 30s``; None for none and for ever."""
    if span in {"", "0", "infinity"}:
        return None
    parts = re.findall(r"([0-9.]+)\s*([a-z]+)", span)
    return sum(float(number) * _UNITS_S.get(unit, 0.0) for number, unit in parts)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
