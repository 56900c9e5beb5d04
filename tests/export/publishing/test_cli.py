"""The commands, as a lab types them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from export.errors import AssemblyError, PublishingError, SigningError
from export.publishing import cli as delivery_cli
from export.publishing.cli import app
from tests.edge.bundles import write_bundle
from tests.export.publishing.workshop import PASSWORD


class Lab:
    """A lab's directories, and a command line whose bundles' networks are not run."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.repository = place / "repository"
        self.password_file = place / "password"
        self.password_file.write_text(PASSWORD + "\n")

    def run(self, *words: object, secret: bool = True, typed: str | None = None) -> str:
        """Run a command and give what it said; its errors are raised."""
        password = ("--password-file", str(self.password_file)) if secret else ()
        ran = CliRunner().invoke(
            app, [*map(str, words), *password], input=typed, catch_exceptions=False, standalone_mode=False
        )
        return ran.output

    @property
    def on_it(self) -> tuple[object, ...]:
        return ("--repository", self.repository, "--keys", self.place / "keys")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    proved = SimpleNamespace(golden=("proved",), passed=True)
    monkeypatch.setattr(delivery_cli, "inspect_bundle", lambda _: proved)
    made = Lab(tmp_path)
    names = ("root-1", "root-2", "root-3", "targets-1", "snapshot-1", "timestamp-1")
    made.run("keys", "make", *names, "--keys", tmp_path / "keys")
    made.run("init", *made.on_it)
    return made


def test_a_lab_publishes_and_looks_at_it(lab: Lab, tmp_path: Path) -> None:
    said = lab.run("publish", write_bundle(tmp_path / "bundle"), *lab.on_it, "--ring", "trial")
    assert "probe release 3" in said
    assert "for trial" in said
    status = lab.run("status", "--repository", lab.repository, secret=False)
    assert "release 3: probe" in status
    assert "2 of 3 must sign" in status
    assert "Good until" in lab.run("refresh", *lab.on_it)


def test_a_stick_is_written(lab: Lab, tmp_path: Path) -> None:
    lab.run("publish", write_bundle(tmp_path / "bundle"), *lab.on_it)
    (tmp_path / "stick").mkdir()
    said = lab.run("usb", "--repository", lab.repository, "--to", tmp_path / "stick", secret=False)
    assert "probe release 3 for stable" in said
    assert (tmp_path / "stick" / "leukoscope" / "metadata" / "timestamp.json").is_file()


def test_a_bundle_that_fails_its_golden_set_is_not_published(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = SimpleNamespace(golden=("fp32 differs by 0.3",), passed=False)
    monkeypatch.setattr(delivery_cli, "inspect_bundle", lambda _: failed)
    with pytest.raises(AssemblyError, match=r"does not prove itself here: fp32 differs by 0\.3"):
        lab.run("publish", write_bundle(tmp_path / "bundle"), *lab.on_it)
    assert "release" not in lab.run("status", "--repository", lab.repository, secret=False)


def test_a_key_is_exchanged_by_name(lab: Lab) -> None:
    lab.run("keys", "make", "targets-2", "--keys", lab.place / "keys")
    add = ("--add", lab.place / "keys" / "targets-2.pub", "--remove", "targets-1")
    assert "Root 2 is in effect" in lab.run("rotate", *lab.on_it, "--role", "targets", *add)


def test_a_second_holder_reads_before_signing(lab: Lab) -> None:
    for name in ("root-2", "root-3"):
        for half in (".pem", ".pub"):
            (lab.place / name).mkdir(exist_ok=True)
            (lab.place / "keys" / f"{name}{half}").rename(lab.place / name / f"{name}{half}")
    (lab.place / "root-2" / "trusted-root.json").write_bytes(
        (lab.place / "keys" / "trusted-root.json").read_bytes()
    )
    said = lab.run("rotate", *lab.on_it, "--days", "timestamp=5")
    assert "Root 2 waits for 1 more signature" in said
    second = ("--repository", lab.repository, "--keys", lab.place / "root-2")
    assert "timestamp 14 -> " in lab.run("sign", *second, typed="n\n").replace("root 365, targets 365, ", "")
    assert "is in effect" in lab.run("sign", *second, "--yes")


def test_a_waiting_root_may_be_forgotten(lab: Lab) -> None:
    for name in ("root-2", "root-3"):
        (lab.place / "keys" / f"{name}.pem").unlink()
    lab.run("rotate", *lab.on_it)
    assert "root 2 waits" in lab.run("status", "--repository", lab.repository, secret=False)
    assert "Forgotten" in lab.run("sign", *lab.on_it, "--forget")
    with pytest.raises(PublishingError, match="No root waits"):
        lab.run("sign", *lab.on_it)


def test_the_timer_on_the_server_asks_for_what_only_people_can_renew(lab: Lab) -> None:
    assert "alone" not in lab.run("refresh", *lab.on_it)
    lab.run("rotate", *lab.on_it, "--days", "root=20")
    said = lab.run("refresh", *lab.on_it)
    assert "The root is good until" in said
    assert "rotate --role root" in said


def test_a_password_is_asked_for_twice_where_no_file_is_given(lab: Lab, tmp_path: Path) -> None:
    words = ("keys", "make", "root-9", "--keys", tmp_path / "more")
    with pytest.raises(SigningError, match="The two passwords differ"):
        lab.run(*words, secret=False, typed=f"{PASSWORD}\nsomething else\n")
    said = lab.run(*words, secret=False, typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert PASSWORD not in said
    assert "signs" in lab.run("keys", "list", "--keys", tmp_path / "more", secret=False)


def test_no_command_takes_a_password_as_a_word() -> None:
    """What stands on a command line is seen by every user of the machine."""
    import typer

    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        options = {option for each in command.params for option in each.opts}
        assert not options & {"--password", "--pin", "--passphrase"}, name


@pytest.mark.parametrize("days", ["timestamp", "timestamp=x", "page=3"])
def test_days_that_are_none_are_refused(lab: Lab, days: str) -> None:
    with pytest.raises(PublishingError, match="Give --days timestamp=14"):
        lab.run("rotate", *lab.on_it, "--days", days)


def test_a_server_that_signs_a_timestamp_needs_no_torch() -> None:
    loaded = "import sys, export.publishing.cli; print(*{each.partition('.')[0] for each in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "trainer"} & set(ran.stdout.split())
