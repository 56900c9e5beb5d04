"""The station as a process: what it records, and how it fails."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import httpx
import pytest

from edge.camera.virtual_slide import draw_field
from edge.contract.records import DURABLE_RECORD, FieldRecord, SlideRecord
from edge.doctor.examination import PARTS
from edge.outbox.store import Outbox

FRAMES = 6


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for seed in range(FRAMES):
        pixels, _ = draw_field(seed=100 + seed, width_px=640, height_px=480, um_per_px=0.08)
        cv2.imwrite(str(folder / f"{seed}.png"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return folder


def write_config(place: Path, bundle, camera: str, extra: str = "") -> Path:
    config = place / "station.toml"
    config.write_text(
        f'site = "lab"\nstation = "s1"\nstate_dir = "var"\nbundle = "{bundle}"\n{camera}\n'
        "[gates]\nmin_focus = 0.0\nmax_white_share = 1.0\n[page]\nport = 0\n" + extra
    )
    return config


def station(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "edge.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        **options,
    )


def outcome(process):
    out, err = process.communicate(timeout=90)
    return process.returncode, out, err


def records(place: Path):
    with Outbox(path=place / "var" / "outbox.sqlite", site="lab", station="s1", software="test") as outbox:
        return [DURABLE_RECORD.validate_json(stored.body) for stored in outbox.pending(limit=1000)]


def test_a_folder_is_analysed_to_its_end_and_every_field_is_on_the_disk(tmp_path, handmade_bundle, frames):
    config = write_config(tmp_path, handmade_bundle, f'[camera]\nkind = "folder"\npath = "{frames}"')
    code, _, err = outcome(station("run", "--exit-when-finished", "--config", config))
    assert code == 0, err
    found = records(tmp_path)
    fields = [record for record in found if isinstance(record, FieldRecord)]
    slides = [record for record in found if isinstance(record, SlideRecord)]
    assert [field.field for field in fields] == list(range(1, FRAMES + 1))
    assert [Path(field.source).name for field in fields] == [f"{index}.png" for index in range(FRAMES)]
    assert [record.stamp.key.sequence for record in found] == list(range(1, len(found) + 1))
    assert [slide.state for slide in slides] == ["open", "closed"]
    assert slides[-1].fields == FRAMES
    assert slides[-1].named_cells == sum(row.count for row in slides[-1].differential)


def test_the_page_is_served_while_a_live_smear_is_watched_and_a_signal_ends_it(tmp_path, handmade_bundle):
    config = write_config(tmp_path, handmade_bundle, '[camera]\nkind = "virtual_slide"\nfields = 400')
    process = station("run", "--config", config)
    url = next(line.split()[-1] for line in process.stderr if "page: http" in line)
    state = httpx.get(url + "api/state", timeout=10).json()["state"]
    assert state["bundle"]["name"] == "handmade"
    assert state["health"]["camera"] in {"starting", "streaming"}
    process.send_signal(signal.SIGTERM)
    code, _, err = outcome(process)
    assert code == 0, err
    assert records(tmp_path)[0].schema_id == "leukoscope/slide/1"


def test_a_missing_folder_is_named_and_ends_a_batch(tmp_path, handmade_bundle):
    config = write_config(tmp_path, handmade_bundle, '[camera]\nkind = "folder"\npath = "nowhere"')
    code, _, err = outcome(station("run", "--exit-when-finished", "--config", config))
    assert code == 69
    assert "nowhere" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda bundle: (bundle / "manifest.json").unlink(), "it has no file manifest.json"),
        (lambda bundle: os.truncate(bundle / "detector.onnx", 100), "detector.onnx is truncated"),
        (lambda bundle: (bundle / "extra.bin").write_bytes(b"x"), "holds extra.bin"),
    ],
)
def test_a_bundle_that_cannot_be_trusted_does_not_run(tmp_path, handmade_bundle, damage, message):
    copy = tmp_path / "bundle"
    subprocess.run(["cp", "-r", handmade_bundle, copy], check=True)
    damage(copy)
    config = write_config(tmp_path, copy, '[camera]\nkind = "virtual_slide"')
    code, _, err = outcome(station("run", "--config", config))
    assert code == 65
    assert message in err
    assert "Traceback" not in err


def test_a_wrong_configuration_ends_with_its_own_code_and_all_faults(tmp_path, handmade_bundle):
    config = write_config(
        tmp_path, handmade_bundle, '[camera]\nkind = "virtual_slide"\nspeed = 3\nseed = "x"'
    )
    code, _, err = outcome(station("run", "--config", config))
    assert code == 78
    assert "station.toml:7: camera.virtual_slide.speed: unknown key" in err
    assert "station.toml:8: camera.virtual_slide.seed:" in err


def test_a_taken_port_is_named(tmp_path, handmade_bundle):
    config = write_config(tmp_path, handmade_bundle, '[camera]\nkind = "virtual_slide"\nfields = 400')
    first = station("run", "--config", config)
    url = next(line.split()[-1] for line in first.stderr if "page: http" in line)
    port = url.rstrip("/").rpartition(":")[2]
    other = tmp_path / "other"
    other.mkdir()
    second = write_config(other, handmade_bundle, '[camera]\nkind = "virtual_slide"')
    second.write_text(second.read_text().replace("port = 0", f"port = {port}"))
    code, _, err = outcome(station("run", "--config", second))
    first.send_signal(signal.SIGTERM)
    outcome(first)
    assert code == 69
    assert port in err


def test_a_second_station_on_the_same_outbox_is_refused(tmp_path, handmade_bundle):
    config = write_config(tmp_path, handmade_bundle, '[camera]\nkind = "virtual_slide"\nfields = 400')
    first = station("run", "--config", config)
    next(line for line in first.stderr if "page: http" in line)
    code, _, err = outcome(station("run", "--config", config))
    first.send_signal(signal.SIGTERM)
    outcome(first)
    assert code == 74
    assert "outbox" in err


def test_analyze_writes_one_line_a_frame_and_names_what_it_cannot_read(tmp_path, handmade_bundle, frames):
    broken = tmp_path / "broken.png"
    broken.write_bytes((frames / "0.png").read_bytes()[:5000])
    images = [*sorted(frames.iterdir()), broken, tmp_path / "absent.jpg"]
    out = tmp_path / "out.jsonl"
    code, _, err = outcome(
        station("analyze", "--bundle", handmade_bundle, "--json", out, "--min-score", "0.01", *images)
    )
    assert code == 66
    assert f"{broken}: the file is cut off" in err
    assert f"{tmp_path / 'absent.jpg'}: cannot be read" in err
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["frame"] for line in lines] == [str(image) for image in sorted(frames.iterdir())]
    cells = [cell for line in lines for cell in line["cells"]]
    promised = {"box_px", "object", "score", "class", "probability", "probabilities", "out_of_distribution"}
    assert promised <= set(cells[0])
    assert min(cell["score"] for cell in cells) < 0.3


def test_classify_names_each_picture(tmp_path, handmade_bundle, frames):
    out = tmp_path / "out.jsonl"
    code, _, err = outcome(station("classify", "--bundle", handmade_bundle, "--json", out, frames / "0.png"))
    assert code == 0, err
    (line,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert line["image"] == str(frames / "0.png")
    assert sum(line["probabilities"].values()) == pytest.approx(1, abs=0.001)
    assert line["class"] == max(line["probabilities"], key=line["probabilities"].get)
    assert isinstance(line["out_of_distribution"], bool)


def test_doctor_looks_at_every_part(tmp_path, handmade_bundle):
    config = write_config(
        tmp_path,
        handmade_bundle,
        '[camera]\nkind = "folder"\npath = "nowhere"',
        '[mqtt]\nhost = "127.0.0.1"\nport = 9\n',
    )
    code, out, _ = outcome(station("doctor", "--config", config))
    grades = {line.split()[1]: line.split()[0] for line in out.splitlines()}
    assert code == 1
    assert grades["camera"] == grades["broker"] == "bad"
    assert grades["bundle"] == grades["engine"] == "good"
    assert grades["updates"] == "good"
    assert set(grades) == set(PARTS)


def test_doctor_says_what_updates_lack(tmp_path, handmade_bundle):
    config = write_config(
        tmp_path,
        handmade_bundle,
        '[camera]\nkind = "folder"\npath = "nowhere"',
        '[update]\nrepository = "stick"\nroot = "root.json"\n',
    )
    told = outcome(station("doctor", "--config", config))[1]
    assert f"the root of trust {tmp_path / 'root.json'} is not there" in told
    (tmp_path / "root.json").write_text("{}")
    told = outcome(station("doctor", "--config", config))[1]
    assert f"the repository {tmp_path / 'stick'} is not there" in told
    (tmp_path / "stick").mkdir()
    told = outcome(station("doctor", "--config", config))[1]
    assert f"taken from {tmp_path / 'stick'}, never found good yet; nothing is under way" in told
    (tmp_path / "var" / "update" / "trust").mkdir(parents=True)
    (tmp_path / "var" / "update" / "trust" / "latest-seen").write_text("2026-11-20T08:30:00+00:00\n")
    told = outcome(station("doctor", "--config", config))[1]
    assert "last found good 2026-11-20 08:30 UTC" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_updates_are_left_to_the_stations_own_user(tmp_path, handmade_bundle):
    (tmp_path / "var" / "update").mkdir(parents=True)
    os.chown(tmp_path / "var" / "update", 65534, -1)
    config = write_config(
        tmp_path,
        handmade_bundle,
        '[camera]\nkind = "folder"\npath = "nowhere"',
        '[update]\nrepository = "stick"\nroot = "root.json"\n',
    )
    code, _, err = outcome(station("update", "look", "--config", config))
    assert code == 74
    assert "sudo -u nobody leukoscope-edge update" in err
    assert list((tmp_path / "var" / "update").iterdir()) == []
    assert outcome(station("update", "status", "--config", config))[0] == 0


def test_commands_of_updates_tell_how_they_stand(tmp_path, handmade_bundle):
    camera = '[camera]\nkind = "folder"\npath = "nowhere"'
    config = write_config(tmp_path, handmade_bundle, camera)
    code, _, err = outcome(station("update", "status", "--config", config))
    assert code == 78
    assert "There is no [update] table" in err
    (tmp_path / "root.json").write_text("{}")
    (tmp_path / "stick").mkdir()
    config = write_config(
        tmp_path, handmade_bundle, camera, '[update]\nrepository = "stick"\nroot = "root.json"\n'
    )
    code, out, err = outcome(station("update", "status", "--config", config))
    assert (code, err) == (0, "")
    assert "active    handmade release 2" in out
    assert "(installed with the software)" in out
    code, out, _ = outcome(station("update", "cancel", "--config", config))
    assert (code, out) == (0, "Nothing is under way.\n")
    code, _, err = outcome(station("update", "forgive", "abc", "--config", config))
    assert code == 1
    assert "'abc' names 0 of the bundles that were tried here" in err
    # A root of trust that is none: told plainly, and nothing is believed.
    code, _, err = outcome(station("update", "look", "--config", config))
    assert code not in (0, 1)
    assert "Traceback" not in err
    # A stick's refusal is left for the page and for whoever asks; the station's own look leaves none.
    note = tmp_path / "var" / "update" / "hand-look.json"
    assert not note.exists()
    assert outcome(station("update", "look", "--config", config, "--from", tmp_path / "stick"))[0] == code
    assert json.loads(note.read_text())["refused"] is True
    told = outcome(station("update", "status", "--config", config))[1]
    assert f"by hand   The repository at {tmp_path / 'stick'} brought nothing at " in told
