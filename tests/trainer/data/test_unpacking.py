import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from trainer.data.unpacking import Bounds, is_archive, lift_single_folder, unpack
from trainer.errors import FetchError

ESCAPES = ["../out.txt", "a/../../out.txt", "/out.txt", "..\\out.txt", "C:\\out.txt", "a/..\\..\\out.txt"]


def zipped(folder: Path, *members: tuple[str, bytes], name: str = "a.zip") -> Path:
    file = folder / name
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, body in members:
            archive.writestr(member, body)
    return file


def tarred(folder: Path, *members: tarfile.TarInfo | tuple[str, bytes], name: str = "a.tar.gz") -> Path:
    file = folder / name
    with tarfile.open(file, "w:gz") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return file


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_files_come_out_as_they_went_in(tmp_path, pack):
    archive = pack(tmp_path, ("a/one.txt", b"1"), ("a/b/two.txt", b"22"))
    assert is_archive(archive)
    assert unpack(archive, tmp_path / "out") == 2
    assert (tmp_path / "out/a/one.txt").read_bytes() == b"1"
    assert (tmp_path / "out/a/b/two.txt").read_bytes() == b"22"


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_is_written_outside_the_folder(tmp_path, pack, name):
    archive = pack(tmp_path, (name, b"evil"))
    with pytest.raises(FetchError, match="outside its folder"):
        unpack(archive, tmp_path / "deep" / "out")
    assert not [each for each in tmp_path.rglob("*out.txt*") if each.is_file()]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(FetchError, match="a link or a device, 'link'"):
        unpack(tarred(tmp_path, info), tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(FetchError, match="holds a link, 'link'"):
        unpack(file, tmp_path / "out")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb_is_stopped_by_the_bytes_that_come(tmp_path, pack):
    archive = pack(tmp_path, ("zeros", bytes(8 << 20)))
    with pytest.raises(FetchError, match="unpacks to more than 2 MB"):
        unpack(archive, tmp_path / "out", bounds=Bounds(always_bytes=2 << 20))
    assert (tmp_path / "out/zeros").stat().st_size <= 2 << 20


def test_too_many_files_are_refused(tmp_path):
    archive = zipped(tmp_path, *((f"{number}", b"") for number in range(4)))
    with pytest.raises(FetchError, match="more than 3 files"):
        unpack(archive, tmp_path / "out", bounds=Bounds(members=3))


def test_a_full_disk_is_told(tmp_path):
    archive = zipped(tmp_path, ("zeros", bytes(1 << 20)))
    with pytest.raises(FetchError, match="no room"):
        unpack(archive, tmp_path / "out", free=lambda _: 64 << 20)


def test_two_files_of_one_name_are_refused(tmp_path):
    archive = tarred(tmp_path, ("a", b"1"), ("a", b"2"))
    with pytest.raises(FetchError, match="holds a twice"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_damaged_archive_is_named(tmp_path, pack):
    archive = pack(tmp_path, ("one.txt", bytes(range(256)) * 400))
    body = bytearray(archive.read_bytes())
    body[len(body) // 2] ^= 0xFF
    archive.write_bytes(bytes(body))
    with pytest.raises(FetchError, match=f"{archive.name} is damaged"):
        unpack(archive, tmp_path / "out")


def test_an_archive_that_ends_too_soon_is_named(tmp_path):
    archive = tarred(tmp_path, ("one.txt", bytes(range(256)) * 400))
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(FetchError, match="is damaged"):
        unpack(archive, tmp_path / "out")


def test_a_tar_that_goes_on_behind_its_end_is_refused(tmp_path):
    file = tmp_path / "a.tar.gz"
    plain = tmp_path / "a.tar"
    with tarfile.open(plain, "w") as opened:
        opened.addfile(tarfile.TarInfo("empty"))
    file.write_bytes(gzip.compress(plain.read_bytes() + bytes(2 << 20)))
    with pytest.raises(FetchError, match="goes on behind its end"):
        unpack(file, tmp_path / "out")


def test_a_locked_zip_asks_for_its_owner(tmp_path):
    archive = zipped(tmp_path, ("one.txt", b"1"))
    body = bytearray(archive.read_bytes())
    body[body.index(b"PK\x01\x02") + 8] |= 1
    body[body.index(b"PK\x03\x04") + 6] |= 1
    archive.write_bytes(bytes(body))
    with pytest.raises(FetchError, match="locked with a password"):
        unpack(archive, tmp_path / "out")


def test_a_picture_is_no_archive(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(600))
    assert not is_archive(tmp_path / "a.png")


def test_a_single_folder_gives_its_content_up(tmp_path):
    folder = tmp_path / "out"
    (folder / "top" / "top").mkdir(parents=True)
    (folder / "top" / "LICENSE").write_text("MIT")
    lift_single_folder(folder)
    assert sorted(each.name for each in folder.iterdir()) == ["LICENSE", "top"]
    lift_single_folder(folder)
    assert sorted(each.name for each in folder.iterdir()) == ["LICENSE", "top"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out"]
