"""The page that walks a lab through the cycle is run, command by command, on the starter's networks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bundle import open_bundle, starter_bundle
from edge.contract.manifest import MANIFEST_NAME, content_id
from tests.conftest import REPOSITORY
from tests.export.publishing.workshop import PASSWORD

WAIT_S = 900
PAGE = REPOSITORY / "docs" / "redeploy.md"


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab's directory with what the page takes for granted: a bundle, a password, a stick, a station."""
    better = tmp_path / "bundles" / "better"
    shutil.copytree(starter_bundle(), better)
    content = json.loads((better / MANIFEST_NAME).read_text())
    named = re.search(r"--name lab --release (\d+)", PAGE.read_text())
    assert named is not None
    assert int(named[1]) > content["release"], "a station takes none that is older than its own"
    content |= {"release": int(named[1])}
    (better / MANIFEST_NAME).write_text(json.dumps(content | {"id": content_id(content)}))
    open_bundle(better)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "stick").mkdir()
    (tmp_path / "frames").mkdir()
    (tmp_path / "station.toml").write_text(
        'site = "lab"\nstation = "scope-1"\nstate_dir = "state"\n'
        '[camera]\nkind = "folder"\npath = "frames"\n'
        '[update]\nrepository = "https://updates.example/"\nroot = "root.json"\n'
    )
    return tmp_path


@pytest.mark.timeout(WAIT_S + 60)
def test_the_page_s_commands_bring_a_better_bundle_to_a_station(lab: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 9
    commands = Path(sys.executable).parent
    ran = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(blocks)],
        cwd=lab,
        env={**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    release = open_bundle(lab / "bundles" / "better").manifest.release
    assert f"starter release {release}" in ran.stdout
    assert f"starter release {release} is offered to stable." in ran.stdout
    assert "Root 3 is in effect" in ran.stdout
    fetched = [each.parent for each in (lab / "state").rglob(MANIFEST_NAME)]
    assert [open_bundle(each).manifest.release for each in fetched] == [release]
