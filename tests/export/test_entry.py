"""What the commands load: a server that signs, and a station that builds engines, have no torch."""

import subprocess
import sys

import pytest

LOADED = "import sys; print(sorted({'torch', 'onnx', 'trainer'} & set(sys.modules)))"


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def test_signing_and_building_engines_load_no_torch():
    assert run(f"import export.without_torch; {LOADED}").stdout == "[]\n"


@pytest.mark.parametrize("command", ["engine", "init", "keys", "publish", "refresh", "usb"])
def test_their_commands_open_without_the_others(command):
    code = f"import sys; from export.entry import main\ntry:\n    main()\nexcept SystemExit:\n    {LOADED}"
    told = run(code, command, "--help").stdout
    assert "Usage: " in told
    assert told.endswith("[]\n")


def test_all_commands_are_in_one_list():
    told = run("from export.entry import main; main()", "--help").stdout
    for command in ("onnx", "bundle", "diff", "engine", "publish", "rotate", "usb"):
        assert f" {command} " in told
