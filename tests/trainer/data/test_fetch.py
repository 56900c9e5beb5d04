import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from tests.trainer.data.file_server import FileServer, Served
from trainer.data import fetch_command
from trainer.data.collection import open_collection
from trainer.data.fetch import fetch
from trainer.data.public import ALL_IDB, ASH, BCCD, CNMC, PublicSource, RemoteFile
from trainer.errors import FetchError


def archive(*members: tuple[str, bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return body.getvalue()


CELLS = archive(("Cells-1.0/LICENSE", b"MIT"), ("Cells-1.0/blast/1.png", b"picture"))
OTHER = archive(("Cells-1.0/blast/1.png", b"another picture"))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        running.files["/cells.zip"] = Served(CELLS)
        yield running


def cells(server: FileServer, **known) -> PublicSource:
    return PublicSource(
        name="cells",
        title="Cells",
        content="Cells.",
        home=server.url,
        licence="MIT",
        ships=True,
        terms="Yes.",
        files=(RemoteFile(name="cells.zip", url=f"{server.url}/cells.zip", **known),),
    )


def run(source: PublicSource, to: Path, **more):
    return fetch(source, to, client=httpx.Client(trust_env=False), sleep=lambda _: None, **more)


def test_a_collection_appears_complete_and_is_remembered(server, tmp_path):
    sha256 = hashlib.sha256(CELLS).hexdigest()
    found = run(cells(server, sha256=sha256, size_bytes=len(CELLS)), tmp_path)
    assert found.folder == tmp_path / "cells"
    assert (found.trusted, found.already) == ((), False)
    assert (found.folder / "LICENSE").read_bytes() == b"MIT"
    assert (found.folder / "blast/1.png").read_bytes() == b"picture"
    lock = json.loads((tmp_path / "cells.lock.json").read_text())
    assert lock["files"]["cells.zip"]["sha256"] == sha256
    assert lock["files"]["cells.zip"]["published"] is True
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cells", "cells.lock.json"]


def test_a_second_fetch_asks_nobody(server, tmp_path):
    run(cells(server), tmp_path)
    server.asked.clear()
    assert run(cells(server), tmp_path).already
    assert server.asked == []


def test_the_first_download_is_trusted_and_later_ones_held_to_it(server, tmp_path):
    found = run(cells(server), tmp_path, keep_archives=True)
    assert found.trusted == ("cells.zip",)
    assert (tmp_path / "cells.archives/cells.zip").read_bytes() == CELLS
    for each in ("cells", "cells.archives"):
        (tmp_path / each).rename(tmp_path / f"moved-{each}")
    assert run(cells(server), tmp_path).trusted == ()
    (tmp_path / "cells").rename(tmp_path / "again")
    server.files["/cells.zip"] = Served(OTHER)
    with pytest.raises(FetchError, match=r"as cells\.lock\.json recorded on \d{4}-\d\d-\d\d"):
        run(cells(server), tmp_path)
    assert not (tmp_path / "cells").exists()


def test_a_wrong_checksum_leaves_no_folder_and_no_file(server, tmp_path):
    with pytest.raises(FetchError, match="as published"):
        run(cells(server, sha256="0" * 64), tmp_path)
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]
    assert not (tmp_path / "cells").exists()


def test_a_mirror_serves_the_same_names_under_the_same_checksums(server, tmp_path):
    server.files = {"/mirror/cells.zip": Served(CELLS)}
    source = cells(server, sha256=hashlib.sha256(CELLS).hexdigest())
    assert run(source, tmp_path / "a", base_url=f"{server.url}/mirror/").folder.is_dir()
    server.files = {"/mirror/cells.zip": Served(OTHER)}
    with pytest.raises(FetchError, match="SHA-256"):
        run(source, tmp_path / "b", base_url=f"{server.url}/mirror")


def test_an_archive_that_reaches_outside_leaves_nothing_but_itself(server, tmp_path):
    server.files["/cells.zip"] = Served(archive(("one.png", b"1"), ("../out.png", b"evil")))
    with pytest.raises(FetchError, match="outside its folder"):
        run(cells(server), tmp_path)
    assert not (tmp_path / "cells").exists()
    assert not list(tmp_path.rglob("out.png"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cells.archives", "cells.lock.json"]


def test_what_was_downloaded_before_it_was_unpacked_is_not_fetched_twice(server, tmp_path):
    class DiskError(Exception):
        pass

    asked = 0

    def fails_when_unpacking(_: Path) -> int:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise DiskError
        return 1 << 40

    with pytest.raises(DiskError):
        run(cells(server), tmp_path, free=fails_when_unpacking)
    assert not (tmp_path / "cells").exists()
    server.files.clear()
    assert (run(cells(server), tmp_path).folder / "blast/1.png").is_file()


def test_a_collection_of_several_files_lies_in_one_folder(server, tmp_path):
    server.files["/labels.csv"] = Served(b"name,label\n", content_type="text/csv")
    labels = RemoteFile(name="labels.csv", url=f"{server.url}/labels.csv")
    found = run(replace(cells(server), files=(*cells(server).files, labels)), tmp_path)
    assert found.trusted == ("cells.zip", "labels.csv")
    assert (found.folder / "labels.csv").read_bytes() == b"name,label\n"
    assert (found.folder / "Cells-1.0/blast/1.png").is_file()


def test_a_folder_that_somebody_else_made_is_left_alone(server, tmp_path):
    (tmp_path / "cells").mkdir()
    with pytest.raises(FetchError, match="was not put there by an earlier fetch"):
        run(cells(server), tmp_path)
    assert server.asked == []


def test_a_damaged_record_is_named(server, tmp_path):
    (tmp_path / "cells.lock.json").write_text("{")
    with pytest.raises(FetchError, match=r"cells\.lock\.json cannot be read"):
        run(cells(server), tmp_path)


@pytest.mark.parametrize(
    ("source", "step"),
    [
        (ALL_IDB, "(2) Apply for access"),
        (CNMC, "IBM Aspera Connect"),
        (ASH, "(1) There is no download of the whole"),
    ],
)
def test_a_collection_that_is_not_given_to_programs_comes_with_the_steps(tmp_path, source, step):
    with pytest.raises(FetchError, match="not given to programs") as caught:
        run(source, tmp_path)
    assert source.home in caught.value.fault
    assert step in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_a_real_collection_is_read_from_where_it_was_fetched(server, tmp_path, data_dir):
    frames = data_dir / "bccd"
    files = [each for each in sorted(frames.rglob("*")) if each.is_file() and "JPEG" not in each.parts[-2]]
    files += sorted((frames / "JPEGImages").iterdir())
    server.files["/bccd.zip"] = Served(
        archive(*((f"BCCD_Dataset-1.0/BCCD/{each.relative_to(frames)}", each.read_bytes()) for each in files))
    )
    packed = RemoteFile(name="bccd.zip", url=f"{server.url}/bccd.zip")
    found = run(replace(BCCD, files=(packed,)), tmp_path)
    fetched, original = (open_collection(each, broken="skip") for each in (found.folder, frames))
    assert fetched.format == original.format == "voc"
    assert [each.name for each in fetched.samples] == [each.name for each in original.samples]


@pytest.fixture
def command(monkeypatch) -> typer.Typer:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    app = typer.Typer()
    app.command()(fetch_command.fetch)
    return app


def test_the_command_fetches_tells_the_terms_and_what_was_trusted(server, command, tmp_path, monkeypatch):
    source = replace(cells(server), terms="Yes, with attribution.")
    monkeypatch.setattr(fetch_command, "source", {"cells": source}.__getitem__)
    done = CliRunner().invoke(
        command, ["cells", "--to", str(tmp_path), "--from", server.url], catch_exceptions=False
    )
    assert done.exit_code == 0
    told = " ".join(done.stdout.split())
    assert "Nobody published a checksum of cells.zip" in told
    assert "May a network trained on it be given to others? Yes, with attribution." in told
    assert f"data check {tmp_path / 'cells'}" in told
    assert (tmp_path / "cells/blast/1.png").is_file()


def test_the_command_lists_every_collection_with_its_terms(command):
    told = CliRunner().invoke(command, ["--list"]).stdout
    for each in fetch_command.SOURCES:
        assert each.title in told
        assert each.licence in told
    assert "7.9 MB, checksum published" in told
    assert BCCD.home in told


@pytest.mark.parametrize("given", [[], ["bccd"]])
def test_the_command_without_a_name_or_a_folder_says_what_is_missing(command, given):
    done = CliRunner().invoke(command, given)
    assert done.exit_code == 2
    assert "--list" in done.output
