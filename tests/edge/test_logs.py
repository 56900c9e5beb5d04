"""The log in its three forms."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading

import pytest

from edge.errors import ConfigError
from edge.logs import set_up_logging


@pytest.fixture
def as_it_was():
    """Logging is the process's own; it is put back."""
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], threading.excepthook = handlers, hook
    root.setLevel(level)


@pytest.fixture
def told(as_it_was):
    """Sets the log up and gives what was written."""
    stream = io.StringIO()

    def begin(how, **more):
        set_up_logging(how, stream=stream, **more)
        return stream

    return begin


def test_json_lines_carry_the_fields(told):
    out = told("json")
    logging.getLogger("edge.some").warning(
        "field %d is lost\nand more", 7, extra={"stage": "analysis", "slide": "P-K4", "record_key": "s1/3/9"}
    )
    (line,) = out.getvalue().splitlines()
    said = json.loads(line)
    assert said["message"] == "field 7 is lost\nand more"
    assert (said["level"], said["logger"]) == ("warning", "edge.some")
    assert (said["stage"], said["slide"], said["record_key"]) == ("analysis", "P-K4", "s1/3/9")
    assert said["time"].endswith("+00:00")


def test_the_journal_gets_fields_that_can_be_asked_for(told):
    sent = []
    told("journal", send=lambda **fields: sent.append(fields))
    logging.getLogger("edge.some").error("it broke", extra={"stage": "saving", "error": "StorageError"})
    (fields,) = sent
    assert fields["MESSAGE"] == "it broke"
    assert fields["PRIORITY"] == "3"
    assert fields["SYSLOG_IDENTIFIER"] == "leukoscope-edge"
    assert (fields["LEUKOSCOPE_STAGE"], fields["LEUKOSCOPE_ERROR"]) == ("saving", "StorageError")
    assert fields["CODE_FUNC"] == "test_the_journal_gets_fields_that_can_be_asked_for"


def test_a_journal_that_is_gone_stops_nobody(told, capsys):
    def gone(**_fields):
        raise OSError("no socket")

    told("journal", send=gone)
    logging.getLogger("edge.some").error("it broke")
    assert "no socket" in capsys.readouterr().err


def test_without_its_library_the_journal_is_refused_with_the_remedy(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "cysystemd.journal", None)
    with pytest.raises(ConfigError, match=r"cysystemd is not installed.*leukoscope\[journal\]"):
        told("journal")


def test_plain_lines_are_marked_only_where_the_journal_reads_them(as_it_was, tmp_path):
    with (tmp_path / "log").open("w+") as stream:
        found = os.fstat(stream.fileno())
        set_up_logging("plain", stream=stream, environment={"JOURNAL_STREAM": "1:2"})
        logging.getLogger("edge.some").warning("first")
        journal = f"{found.st_dev}:{found.st_ino}"
        set_up_logging("plain", stream=stream, environment={"JOURNAL_STREAM": journal})
        logging.getLogger("edge.some").warning("second\nline")
        stream.seek(0)
        assert stream.read().splitlines() == [
            "WARNING edge.some: first",
            "<4>WARNING edge.some: second",
            "<4>line",
        ]


def test_a_thread_that_dies_is_told_with_its_place(told):
    out = told("json")

    def dies():
        raise RuntimeError("the driver is gone")

    thread = threading.Thread(target=dies, name="analysis")
    thread.start()
    thread.join()
    said = json.loads(out.getvalue())
    assert said["message"] == "the thread analysis has ended by a fault of the program"
    assert (said["level"], said["error"]) == ("critical", "RuntimeError")
    assert "in dies" in said["traceback"]


def test_the_station_logs_json_when_told_to(tmp_path):
    config = tmp_path / "station.toml"
    config.write_text(
        'site = "lab"\nstation = "s1"\nstate_dir = "var"\n[camera]\nkind = "folder"\npath = "nowhere"\n'
        "[page]\nenabled = false\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "edge.cli",
            "run",
            "--log-format",
            "json",
            "--exit-when-finished",
            "--config",
            config,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 69
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert any("nowhere" in each["message"] and each["level"] == "error" for each in said)
