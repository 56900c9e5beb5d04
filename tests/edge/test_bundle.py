"""A bundle is opened whole or not at all, and the refusal says what is wrong."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import bundle
from edge.bundle import open_bundle, read_manifest, starter_bundle
from edge.contract.manifest import MANIFEST_NAME
from edge.errors import BundleError
from tests.edge.bundles import FILES, manifest_content, write_bundle, write_manifest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def test_a_whole_bundle_opens(directory: Path) -> None:
    opened = open_bundle(directory)
    assert opened.manifest.release == 3
    assert opened.path("detector.onnx").read_bytes() == FILES["detector.onnx"]


def test_a_directory_reached_by_a_link_opens(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(directory)
    assert open_bundle(tmp_path / "current").path("detector.onnx") == directory / "detector.onnx"


def test_a_name_that_is_not_listed_has_no_path(directory: Path) -> None:
    with pytest.raises(BundleError, match=r"lists no file '\.\./secret'"):
        open_bundle(directory).path("../secret")


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere does not exist"):
        open_bundle(tmp_path / "nowhere")


def test_a_file_instead_of_a_directory(directory: Path) -> None:
    with pytest.raises(BundleError, match=r"detector\.onnx is not a directory"):
        open_bundle(directory / "detector.onnx")


def test_a_foreign_directory(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"is not a bundle: it has no file manifest\.json"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        open_bundle(directory)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_truncated_file_is_named(directory: Path, name: str) -> None:
    os.truncate(directory / name, len(FILES[name]) - 1)
    with pytest.raises(BundleError, match=f"{name} is truncated: {len(FILES[name]) - 1} bytes instead of"):
        open_bundle(directory)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_lengthened_file_is_named(directory: Path, name: str) -> None:
    with (directory / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=f"{name} is longer"):
        open_bundle(directory)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_flipped_bit_of_any_file_is_noticed(directory: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    place = data.draw(st.integers(0, len(FILES[name]) - 1))
    altered = bytearray(FILES[name])
    altered[place] ^= 1 << data.draw(st.integers(0, 7))
    (directory / name).write_bytes(altered)
    try:
        with pytest.raises(BundleError, match=f"{name} was altered"):
            open_bundle(directory)
    finally:
        (directory / name).write_bytes(FILES[name])


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_cut_of_the_manifest_opens(directory: Path, data: st.DataObject) -> None:
    place = directory / MANIFEST_NAME
    whole = place.read_bytes()
    place.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    try:
        with pytest.raises(BundleError):
            open_bundle(directory)
    finally:
        place.write_bytes(whole)


def test_a_changed_value_breaks_the_id(directory: Path) -> None:
    text = (directory / MANIFEST_NAME).read_text()
    (directory / MANIFEST_NAME).write_text(text.replace('"value": 0.3', '"value": 0.2', 1))
    with pytest.raises(BundleError, match="it was altered"):
        open_bundle(directory)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("leukoscope/bundle/2", "made for another version of Leukoscope"),
        ("someone/else", "not the manifest of a Leukoscope bundle"),
        (None, "not the manifest of a Leukoscope bundle"),
        (7, "not the manifest of a Leukoscope bundle"),
    ],
)
def test_another_schema_says_so(directory: Path, schema: object, words: str) -> None:
    write_manifest(directory, {**manifest_content(), "schema": schema})
    with pytest.raises(BundleError, match=words):
        open_bundle(directory)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "\x00", '{"schema": ', "[" * 200_000, '{"schema": "leukoscope/bundle/1"}'],
    ids=["empty", "list", "null", "binary", "cut", "nested", "bare"],
)
def test_a_foreign_manifest_is_one_message(directory: Path, text: str) -> None:
    (directory / MANIFEST_NAME).write_text(text)
    with pytest.raises(BundleError) as caught:
        open_bundle(directory)
    assert len(str(caught.value)) < 1000


def test_a_limit_that_is_no_number_is_refused(directory: Path) -> None:
    text = (directory / MANIFEST_NAME).read_text()
    (directory / MANIFEST_NAME).write_text(text.replace('"value": 0.3', '"value": NaN', 1))
    with pytest.raises(BundleError, match="not JSON"):
        open_bundle(directory)


def test_an_oversized_manifest_is_not_read(directory: Path) -> None:
    with (directory / MANIFEST_NAME).open("ab") as file:
        file.truncate(bundle.MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match="a manifest has at most"):
        open_bundle(directory)


def test_all_faults_of_a_manifest_are_told_at_once(directory: Path) -> None:
    content = manifest_content()
    content["release"] = 0
    content["detector"]["max_objects"] = -1
    content["surprise"] = True
    write_manifest(directory, content)
    with pytest.raises(BundleError) as caught:
        read_manifest(directory)
    assert all(each in str(caught.value) for each in ("release", "detector.max_objects", "surprise"))


def test_a_listed_path_cannot_leave_the_directory(directory: Path) -> None:
    content = manifest_content()
    content["files"]["../outside"] = content["files"]["detector.onnx"]
    write_manifest(directory, content)
    with pytest.raises(BundleError, match="is not valid"):
        open_bundle(directory)


def test_an_added_file_is_refused(directory: Path) -> None:
    (directory / "golden" / "plugin.so").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"holds golden/plugin\.so"):
        open_bundle(directory)


@pytest.mark.parametrize("kind", ["outside", "inside", "directory"])
def test_a_link_is_refused_even_if_its_target_is_right(directory: Path, tmp_path: Path, kind: str) -> None:
    if kind == "directory":
        (directory / "golden").rename(tmp_path / "moved")
        (directory / "golden").symlink_to(tmp_path / "moved")
    else:
        target = (tmp_path if kind == "outside" else directory / "golden") / "target"
        (directory / "detector.onnx").rename(target)
        (directory / "detector.onnx").symlink_to(target)
    with pytest.raises(BundleError, match="is a link"):
        open_bundle(directory)


def test_a_linked_manifest_is_refused(directory: Path, tmp_path: Path) -> None:
    (directory / MANIFEST_NAME).rename(tmp_path / MANIFEST_NAME)
    (directory / MANIFEST_NAME).symlink_to(tmp_path / MANIFEST_NAME)
    with pytest.raises(BundleError, match="not a bundle"):
        open_bundle(directory)


def test_a_socket_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(directory)  # a socket's path is limited to 107 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(BundleError, match="not a plain file"):
            open_bundle(directory)


def test_a_file_that_cannot_be_read_names_the_disk(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes

    def failing(self: Path) -> bytes:
        if self.name == "classifier.onnx":
            raise OSError(5, "Input/output error")
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(
        BundleError, match=r"classifier\.onnx cannot be read: Input/output error\. Check the disk"
    ):
        open_bundle(directory)


def test_an_installation_without_a_starter_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "STARTER_DIRECTORY", tmp_path / "starter")
    with pytest.raises(BundleError, match="make starter-bundle"):
        starter_bundle()


def test_the_starter_that_is_there_is_given(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "STARTER_DIRECTORY", directory)
    assert starter_bundle() == directory
