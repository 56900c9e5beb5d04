"""A bundle that kills the station, under the station's own unit and a real systemd, goes back by itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge.bundle import Bundle
from edge.update.settings import TrialSettings
from tests.appliance.conftest import Install
from tests.appliance.machine import Machine, require_machine
from tests.appliance.sticks import filled_stick

CONFIG = """\
site = "lab"
station = "scope-1"
[camera]
kind = "virtual_slide"
seed = 1
[slide]
open_at_start = false
[update]
repository = "/srv/bundles"
root = "update-root.json"
attempts = 1
reserve_bytes = 0
[update.trial]
fields = 1000000
"""
BEGINS = """
unit=leukoscope-station.service
update=/var/lib/leukoscope/update
# until_so COMMAND...: until the command succeeds; the job ends where it never does.
until_so() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries -gt 2000 ]; then cat $update/journal.json; systemctl --no-pager status $unit; exit 1; fi
        sleep 0.1
    done
}
is_another() {
    [ "$(systemctl is-active $unit)" = active ] && [ "$(systemctl show $unit --property=MainPID)" != "$died" ]
}
is_settled() {
    grep -q '"attempt": null' $update/journal.json
}
chgrp -R leukoscope /etc/leukoscope
systemctl start $unit
until_so test -L $update/active
readlink $update/active
"""
DIES = """
died=$(systemctl show $unit --property=MainPID)
kill -KILL ${died#MainPID=}
until_so is_another
"""
GOES_ON = f"""{BEGINS}
systemctl is-active $unit || true
wait_for $unit ActiveState=active
systemctl show $unit --property=NRestarts
"""
LOOK_BACK = """
until_so is_settled
test -e $update/active || echo the first bundle is active
systemctl show $unit --property=NRestarts,ActiveState,Result
cp $update/journal.json /run/out/
systemctl stop $unit
"""


def a_station(place: Path, install: Install) -> tuple[Machine, Bundle]:
    """A machine whose station finds a better bundle as soon as it starts."""
    require_machine()
    stick, root, bundle = filled_stick(place / "lab")
    stage = place / "root"
    stage.mkdir()
    (place / "root.json").write_bytes(root)
    done = install("--root", stage, "--role", "station", "--update-root", place / "root.json")
    assert done.returncode == 0, done.stderr
    (stage / "etc/leukoscope/station.toml").write_text(CONFIG)
    shutil.copytree(stick, stage / "srv/bundles")
    soon = stage / "etc/systemd/system/leukoscope-station.service.d"
    soon.mkdir()
    (soon / "soon.conf").write_text("[Service]\nRestartSec=100ms\n")
    return Machine(stage=stage, out=place / "out"), bundle


@pytest.mark.nightly  # boots a machine, as the other does
def test_a_station_that_dies_in_a_trial_goes_back_and_works_on(tmp_path: Path, install: Install) -> None:
    machine, bundle = a_station(tmp_path, install)
    deaths = TrialSettings().deaths
    ran = machine.run(BEGINS + DIES * deaths + LOOK_BACK)
    assert ran.status == 0, ran
    assert ran.said.startswith(f"bundles/{bundle.manifest.id}\n"), ran
    assert "the first bundle is active" in ran.said
    assert "telemetry" not in ran.units
    assert f"NRestarts={deaths}\n" in ran.said
    assert "ActiveState=active" in ran.said
    ledger = json.loads((tmp_path / "out/journal.json").read_text())
    assert ledger["attempt"] is None
    assert (
        ledger["histories"][bundle.manifest.id]["given_up"] == f"the station died {deaths} times in its trial"
    )


def test_to_systemd_a_station_that_begins_a_trial_goes_on(tmp_path: Path, install: Install) -> None:
    machine, bundle = a_station(tmp_path, install)
    ran = machine.run(GOES_ON)
    assert ran.status == 0, ran
    assert f"bundles/{bundle.manifest.id}\nreloading\n" in ran.said, ran
    assert ran.said.endswith("NRestarts=0\n")
