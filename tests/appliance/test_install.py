"""install.sh, into a root directory of its own; this machine stays as it is."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALL = REPOSITORY / "firmware_config" / "install.sh"
CONFIG = "etc/leukoscope/station.toml"

Install = Callable[..., subprocess.CompletedProcess[str]]


def files_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (
            "station",
            {
                CONFIG,
                "etc/udev/rules.d/99-leukoscope-camera.rules",
                "etc/udev/rules.d/99-leukoscope-stick.rules",
                "etc/systemd/system/leukoscope-station.service",
                "etc/systemd/system/leukoscope-stick-mount@.service",
                "etc/systemd/system/leukoscope-stick@.service",
                "opt/leukoscope/libexec/leukoscope-stick",
            },
        ),
        (
            "repository",
            {"etc/systemd/system/leukoscope-refresh.service", "etc/systemd/system/leukoscope-refresh.timer"},
        ),
        ("collector", {"etc/leukoscope/collector.env", "etc/systemd/system/leukoscope-collector.service"}),
        ("broker", {"etc/mosquitto/conf.d/leukoscope.conf", "etc/mosquitto/leukoscope/leukoscope.acl"}),
    ],
)
def test_each_role_brings_its_files(tmp_path: Path, install: Install, role: str, expected: set[str]) -> None:
    done = install("--root", tmp_path, "--role", role)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(files_in(tmp_path)) == expected


def test_a_second_run_changes_nothing(stage: Path, install: Install) -> None:
    before = files_in(stage)
    done = install("--root", stage, "--prefix", stage.parent / "software", "--role", "station")
    assert done.returncode == 0
    assert files_in(stage) == before
    assert "unchanged" in done.stdout
    assert "wrote" not in done.stdout


def test_an_edited_configuration_is_kept_and_the_new_one_stands_beside_it(
    stage: Path, install: Install
) -> None:
    config = stage / CONFIG
    config.write_text("# mine\n")
    done = install("--root", stage)
    assert done.returncode == 0
    assert config.read_text() == "# mine\n"
    assert (stage / f"{CONFIG}.new").read_bytes() == (
        REPOSITORY / "firmware_config/station.toml"
    ).read_bytes()
    assert "kept" in done.stdout


def test_what_belongs_to_the_software_is_brought_up_to_date(stage: Path, install: Install) -> None:
    unit = stage / "etc/systemd/system/leukoscope-station.service"
    unit.write_text("[Unit]\n")
    install("--root", stage)
    assert "WatchdogSec" in unit.read_text()


def test_secrets_places_are_closed_to_others(stage: Path) -> None:
    for place in ("etc/leukoscope", "etc/leukoscope/tls", CONFIG):
        assert not stat.S_IMODE((stage / place).stat().st_mode) & 0o007, place
    assert stat.S_IMODE((stage / "etc/leukoscope/signing").stat().st_mode) == 0o700


def test_the_units_follow_the_prefix(tmp_path: Path, install: Install) -> None:
    install("--root", tmp_path, "--prefix", "/srv/leuko")
    units = tmp_path / "etc/systemd/system"
    assert "ExecStart=/srv/leuko/bin/leukoscope-edge" in (units / "leukoscope-station.service").read_text()
    assert [each for each in units.iterdir() if "/opt/leukoscope" in each.read_text()] == []
    stick = (units / "leukoscope-stick-mount@.service").read_text()
    mounting = re.search(r"(?m)^ExecStart=(\S+) mount", stick)
    assert mounting is not None
    assert (tmp_path / mounting.group(1).lstrip("/")).stat().st_mode & 0o111 == 0o111


@pytest.fixture
def root_of_trust(tmp_path: Path) -> Path:
    """Root metadata as a repository is begun with."""
    content = Metadata(Root(expires=datetime(2030, 1, 1, tzinfo=timezone.utc))).to_bytes()
    file = tmp_path / "1.root.json"
    file.write_bytes(content)
    return file


def test_the_root_of_trust_is_put_where_the_configuration_looks_for_it(
    tmp_path: Path, install: Install, root_of_trust: Path
) -> None:
    place = tmp_path / "machine"
    place.mkdir()
    done = install("--root", place, "--update-root", root_of_trust)
    assert (done.returncode, done.stderr) == (0, "")
    trusted = place / "etc/leukoscope/update-root.json"
    assert trusted.read_bytes() == root_of_trust.read_bytes()
    assert stat.S_IMODE(trusted.stat().st_mode) == 0o644, "the station reads it, and never writes it"
    example = (REPOSITORY / "firmware_config/station.toml").read_text()
    assert f'# root = "{trusted.name}"' in example
    again = install("--root", place, "--update-root", root_of_trust)
    assert f"unchanged {trusted}" in again.stdout
    assert install("--root", place).returncode == 0
    assert trusted.read_bytes() == root_of_trust.read_bytes()


def test_another_root_of_trust_is_refused_before_anything_is_done(
    tmp_path: Path, install: Install, root_of_trust: Path
) -> None:
    trusted = tmp_path / "machine/etc/leukoscope/update-root.json"
    trusted.parent.mkdir(parents=True)
    trusted.write_text("the one before")
    done = install("--root", tmp_path / "machine", "--update-root", root_of_trust)
    assert done.returncode == 73
    assert "take it away by hand" in done.stderr
    assert files_in(tmp_path / "machine") == {"etc/leukoscope/update-root.json": b"the one before"}


def test_the_directory_of_updates_is_the_stations_own(install: Install) -> None:
    done = install("--dry-run", "--prefix", "/nonexistent/leukoscope", "--package", "leukoscope.whl")
    made = "install -d -o leukoscope -g leukoscope -m 0750 /var/lib/leukoscope /var/lib/leukoscope/update"
    assert f"would run: {made}" in done.stdout


def test_a_dry_run_does_nothing(tmp_path: Path, install: Install) -> None:
    done = install("--dry-run", "--root", tmp_path, "--role", "station", "--role", "broker")
    assert done.returncode == 0
    assert f"would write {tmp_path}/{CONFIG}" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_dry_run_on_this_machine_tells_what_it_would_run(install: Install) -> None:
    done = install("--dry-run", "--prefix", "/nonexistent/leukoscope", "--package", "leukoscope.whl")
    assert done.returncode == 0
    assert "would run: python3 -m venv /nonexistent/leukoscope" in done.stdout
    assert "-m pip install --upgrade leukoscope.whl" in done.stdout
    assert "would run: systemctl daemon-reload" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--roll", "station"], 64, "unknown option --roll"),
        (["--role", "printer"], 64, "unknown role printer"),
        (["--role"], 64, "--role needs a value"),
        (["--root", "/nonexistent/root"], 66, "/nonexistent/root is not a directory"),
        (["--prefix", "software"], 64, "not an absolute path"),
        (["--prefix", "/opt/a|b"], 64, "can stand in a unit"),
        (["--role", "broker", "--update-root", INSTALL], 64, "--update-root is for a station"),
        (["--update-root", "/nonexistent/root.json"], 66, "is not a file"),
        (["--update-root", INSTALL], 65, "not root metadata"),
    ],
)
def test_wrong_use_is_told(install: Install, arguments: list[str | Path], code: int, said: str) -> None:
    done = install(*arguments)
    assert done.returncode == code
    assert said in done.stderr


@pytest.mark.parametrize("script", [INSTALL, INSTALL.parent / "leukoscope-stick"])
def test_the_scripts_are_clean(script: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
