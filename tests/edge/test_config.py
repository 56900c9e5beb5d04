"""A configuration's faults are told all at once, each with its line and, where it can be, its remedy."""

from pathlib import Path

import pytest

from edge.camera.settings import FolderSettings
from edge.config import load_config, parse_config
from edge.errors import ConfigError

GOOD = """\
site = "lab"
station = "scope-1"
state_dir = "state"

[camera]
kind = "folder"
path = "frames"

[mqtt]
host = "localhost"
"""


def test_paths_are_taken_from_the_files_own_directory(tmp_path):
    (tmp_path / "station.toml").write_text(GOOD)
    config = load_config(tmp_path / "station.toml")
    assert config.state_dir == tmp_path / "state"
    assert isinstance(config.camera, FolderSettings)
    assert config.camera.path == tmp_path / "frames"
    assert config.mqtt is not None
    assert config.mqtt.port == 1883


def test_all_faults_are_told_with_their_lines():
    text = """\
site = "Lab One"
station = "scope-1"

[camera]
kind = "folder"
pth = "frames"

[page]
port = "eighty"

[gates]
min_focus = -1
"""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, path=Path("station.toml"))
    message = str(caught.value)
    assert "station.toml:1: site: " in message
    assert "station.toml:6: camera.folder.pth: unknown key; did you mean 'path'?" in message
    assert "station.toml:4: camera.folder.path: is required" in message
    assert "station.toml:9: page.port: " in message
    assert "station.toml:12: gates.min_focus: " in message
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("camera", ['kind = "video"\nsource = "{url}"\ntimeout_s = -1', 'source = "{url}"'])
def test_a_fault_never_shows_a_password_in_an_address(camera):
    url = "rtsp://me:secret@scope.lab.example/live"
    text = 'site = "lab"\nstation = "scope-1"\n[camera]\n' + camera.format(url=url)
    with pytest.raises(ConfigError) as refused:
        parse_config(text, path=Path("station.toml"))
    assert "camera" in refused.value.fault
    assert "secret" not in str(refused.value)


def test_text_that_is_no_toml_names_the_line():
    with pytest.raises(ConfigError, match="line 2"):
        parse_config('site = "lab"\nstation = \n', path=Path("station.toml"))


def test_a_camera_of_unknown_kind_is_told_which_kinds_there_are():
    with pytest.raises(ConfigError, match=r"station.toml:3: camera: .*virtual_slide"):
        parse_config('site = "lab"\nstation = "a"\n[camera]\nkind = "telescope"\n', path=Path("station.toml"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_config(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "station.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "station.toml")
