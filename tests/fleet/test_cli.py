from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.broker import free_port
from edge.errors import LeukoscopeError
from fleet.cli import app, main
from fleet.errors import UsageError
from fleet.intake import read_message
from fleet.settings import parse_address
from fleet.store import FleetStore


@pytest.fixture
def database(tmp_path: Path, records: Any) -> Path:
    path = tmp_path / "fleet.sqlite3"
    batch = [
        records.field(1, cells=2),
        records.slide(2, fields=3),
        records.review(3, field=1, cell=0, label="monocyte"),
    ]
    with FleetStore(path) as store:
        messages = [
            read_message(f"leukoscope/v1/ward/s1/{each.schema_id.split('/')[1]}", records.body(each))
            for each in batch
        ]
        messages.append(read_message("leukoscope/v1/ward/s1/field", b"rubbish"))
        store.commit(messages, received_at=datetime(2026, 3, 1, tzinfo=timezone.utc))
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_stations(database: Path) -> None:
    output = run("stations", "--database", str(database))
    assert "ward/s1: unknown, 3 records, last 2026-03-01" in output
    assert "1 messages were rejected" in output


def test_slides(database: Path) -> None:
    output = run("slides", "--database", str(database))
    assert "ward/s1 A-17: open, 3 fields, 4 named cells" in output
    assert "blast" in output
    assert "40.0% to 100.0%  corrected 96.0%, 35.0% to 100.0%" in output
    assert "blasts above 20.0%: probability 0.99" in output


def test_cells_as_csv(database: Path, tmp_path: Path) -> None:
    run("cells", "--database", str(database), "--csv", str(tmp_path / "cells.csv"))
    text = (tmp_path / "cells.csv").read_text(encoding="utf-8")
    assert list(csv.reader(io.StringIO(run("cells", "--database", str(database))))) == list(
        csv.reader(io.StringIO(text))
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["cell"], row["class"], row["reviewed_class"]) for row in rows] == [
        ("0", "blast", "monocyte"),
        ("1", "blast", ""),
    ]
    assert (rows[0]["x0_px"], rows[0]["y1_px"], rows[0]["bundle"]) == ("1.0", "40.0", "b7")


def test_collecting_ends_in_good_order_when_told(tmp_path: Path) -> None:
    collect = [sys.executable, "-m", "fleet.cli", "collect", "--broker", f"127.0.0.1:{free_port()}"]
    database = tmp_path / "fleet.sqlite3"
    with subprocess.Popen([*collect, "--database", database], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "cannot be reached" in process.stderr.readline()
        process.terminate()
        assert process.wait(15) == 0
    assert database.exists()


def test_a_fault_is_one_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["leukoscope-fleet", "slides", "--database", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 74
    assert "There is no database" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("broker", ("broker", 1883, False)),
        ("broker:99", ("broker", 99, False)),
        ("mqtt://10.0.0.1", ("10.0.0.1", 1883, False)),
        ("mqtts://broker.example", ("broker.example", 8883, True)),
        ("mqtts://[::1]:9", ("::1", 9, True)),
    ],
)
def test_a_brokers_address(text: str, address: tuple[str, int, bool]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "http://broker", "broker:x", "broker:99999", "mqtt://broker/path"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_address(text)
    assert isinstance(told.value, LeukoscopeError)
