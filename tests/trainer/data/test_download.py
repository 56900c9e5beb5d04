import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.trainer.data.file_server import FileServer, Served
from trainer.data.download import Downloader, Expected
from trainer.errors import FetchError

BODY = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as running:
        running.files["/a.zip"] = Served(BODY)
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, follow_redirects=True) as opened:
        yield opened


class Waits(list[float]):
    def __call__(self, pause_s: float) -> None:
        self.append(pause_s)


def fetch(server, client, folder: Path, *, waits: Waits | None = None, **known) -> str:
    downloader = Downloader(client=client, sleep=Waits() if waits is None else waits)
    return downloader.download(f"{server.url}/a.zip", folder / "a.zip", expected=Expected(**known))


def begun(server, client, folder: Path, *, at: int = 100_000) -> None:
    """Leave a partial file behind, as an interrupted download does."""
    server.files["/a.zip"].cuts = [at]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Downloader(client=client, sleep=interrupt).download(
            f"{server.url}/a.zip", folder / "a.zip", expected=Expected()
        )
    assert (folder / ".a.zip.partial").stat().st_size == at
    assert not (folder / "a.zip").exists()
    server.asked.clear()


def test_a_file_arrives_whole_with_its_checksum(server, client, tmp_path):
    assert fetch(server, client, tmp_path, sha256=SHA256, size_bytes=len(BODY)) == SHA256
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert [each.name for each in tmp_path.iterdir()] == ["a.zip"]


def test_a_cut_connection_is_taken_up_where_it_broke(server, client, tmp_path):
    server.files["/a.zip"].cuts = [100_000, 50_000]
    waits = Waits()
    assert fetch(server, client, tmp_path, waits=waits) == SHA256
    assert [each.range for each in server.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert waits == [1.0, 2.0]


def test_an_interrupted_download_goes_on_in_the_next_run(server, client, tmp_path):
    begun(server, client, tmp_path)
    assert fetch(server, client, tmp_path, sha256=SHA256) == SHA256
    assert [each.range for each in server.asked] == ["bytes=100000-"]


def test_a_file_by_its_date_is_taken_up_too(server, client, tmp_path):
    server.files["/a.zip"].etag = 'W/"weak"'
    server.files["/a.zip"].last_modified = "Wed, 21 Oct 2015 07:28:00 GMT"
    begun(server, client, tmp_path)
    assert fetch(server, client, tmp_path) == SHA256
    assert [each.range for each in server.asked] == ["bytes=100000-"]


def test_a_file_that_nothing_vouches_for_is_begun_anew(server, client, tmp_path):
    server.files["/a.zip"].etag = 'W/"weak"'
    begun(server, client, tmp_path)
    assert fetch(server, client, tmp_path) == SHA256
    assert [each.range for each in server.asked] == [None]


def test_a_file_that_changed_in_between_is_not_sewn_together(server, client, tmp_path):
    begun(server, client, tmp_path)
    changed = BODY[::-1]
    server.files["/a.zip"] = Served(changed, etag='"two"')
    assert fetch(server, client, tmp_path) == hashlib.sha256(changed).hexdigest()
    assert (tmp_path / "a.zip").read_bytes() == changed


def test_the_partial_file_of_another_address_is_not_taken_up(server, client, tmp_path):
    begun(server, client, tmp_path)
    server.files["/mirror/a.zip"] = Served(BODY)
    Downloader(client=client, sleep=Waits()).download(
        f"{server.url}/mirror/a.zip", tmp_path / "a.zip", expected=Expected(sha256=SHA256)
    )
    assert [each.range for each in server.asked] == [None]


def test_a_server_without_ranges_sends_it_all_again(server, client, tmp_path):
    server.files["/a.zip"].ranges = False
    begun(server, client, tmp_path)
    assert fetch(server, client, tmp_path) == SHA256
    assert [each.range for each in server.asked] == ["bytes=100000-"]


def test_a_partial_file_that_was_whole_is_finished(server, client, tmp_path):
    begun(server, client, tmp_path)
    (tmp_path / ".a.zip.partial").write_bytes(BODY)
    assert fetch(server, client, tmp_path, sha256=SHA256) == SHA256


def test_a_partial_file_longer_than_the_file_is_thrown_away(server, client, tmp_path):
    begun(server, client, tmp_path)
    (tmp_path / ".a.zip.partial").write_bytes(BODY + b"more")
    assert fetch(server, client, tmp_path, sha256=SHA256) == SHA256
    assert [each.range for each in server.asked] == ["bytes=300004-", None]


def test_a_wrong_checksum_is_named_and_the_file_removed(server, client, tmp_path):
    with pytest.raises(FetchError, match=f"SHA-256 {SHA256}, not {'0' * 64} as published") as caught:
        fetch(server, client, tmp_path, sha256="0" * 64)
    assert "a.zip" in caught.value.fault
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_length_is_refused_before_it_is_fetched(server, client, tmp_path):
    with pytest.raises(FetchError, match="300,000 bytes long, not 5 as published"):
        fetch(server, client, tmp_path, size_bytes=5)
    assert list(tmp_path.iterdir()) == []


def test_a_body_cut_short_without_a_length_is_found_by_its_size(server, client, tmp_path):
    server.files["/a.zip"].tell_length = False
    server.files["/a.zip"].cuts = [100_000]
    with pytest.raises(FetchError, match="100,000 bytes long, not 300,000"):
        fetch(server, client, tmp_path, size_bytes=len(BODY))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "words"), [(404, "is not there"), (410, "is not there"), (403, "not given to everyone")]
)
def test_what_no_second_try_mends_is_told_at_once(server, client, tmp_path, status, words):
    server.files["/a.zip"].statuses = [status] * 9
    waits = Waits()
    with pytest.raises(FetchError, match=words) as caught:
        fetch(server, client, tmp_path, waits=waits)
    assert str(status) in caught.value.fault
    assert (len(server.asked), waits) == (1, [])


def test_a_passing_fault_is_tried_again_as_late_as_the_server_asks(server, client, tmp_path):
    server.files["/a.zip"].statuses = [500, 503]
    server.files["/a.zip"].headers = {"Retry-After": "7"}
    waits = Waits()
    assert fetch(server, client, tmp_path, waits=waits) == SHA256
    assert waits == [7.0, 7.0]


def test_a_lasting_fault_ends_and_keeps_what_arrived(server, client, tmp_path):
    server.files["/a.zip"].statuses = [200] + [500] * 9
    server.files["/a.zip"].cuts = [100_000]
    waits = Waits()
    with pytest.raises(FetchError, match="after 5 attempts in a row: the server answered 500") as caught:
        fetch(server, client, tmp_path, waits=waits)
    assert "goes on where this one stopped" in caught.value.remedy
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert (tmp_path / ".a.zip.partial").stat().st_size == 100_000


def test_a_large_file_may_break_off_more_often_than_the_attempts(server, client, tmp_path):
    body = BODY * 40
    server.files["/a.zip"] = Served(body, cuts=[1_500_000] * 7)
    assert fetch(server, client, tmp_path) == hashlib.sha256(body).hexdigest()
    assert len(server.asked) == 8


def test_no_server_at_all_is_told_with_the_address(client, tmp_path):
    with FileServer() as gone:
        url = gone.url
    with pytest.raises(FetchError, match=r"could not be fetched, after 5 attempts"):
        Downloader(client=client, sleep=Waits()).download(
            f"{url}/a.zip", tmp_path / "a.zip", expected=Expected()
        )


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/a.zip", "http://127.0.0.1:port/a.zip", "nothing"])
def test_an_address_that_leads_nowhere_is_told_at_once(client, tmp_path, url):
    waits = Waits()
    with pytest.raises(FetchError, match="leads nowhere"):
        Downloader(client=client, sleep=waits).download(url, tmp_path / "a.zip", expected=Expected())
    assert waits == []


def test_a_page_instead_of_the_file_is_not_taken_for_it(server, client, tmp_path):
    server.files["/a.zip"] = Served(b"<html>sign in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(FetchError, match="answered with a web page"):
        fetch(server, client, tmp_path)
    assert not (tmp_path / "a.zip").exists()


def test_a_full_disk_is_told_before_anything_is_fetched(server, client, tmp_path):
    downloader = Downloader(client=client, sleep=Waits(), free=lambda _: 64 << 20)
    with pytest.raises(FetchError, match="67 MB left") as caught:
        downloader.download(f"{server.url}/a.zip", tmp_path / "a.zip", expected=Expected())
    assert "Make room" in caught.value.remedy
    assert (tmp_path / ".a.zip.partial").stat().st_size == 0


def test_two_processes_do_not_write_into_one_file(server, client, tmp_path):
    with (tmp_path / ".a.zip.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="by another process"):
            fetch(server, client, tmp_path)


def test_progress_counts_what_was_there_before(server, client, tmp_path):
    begun(server, client, tmp_path)
    told: list[tuple[int, int | None]] = []
    Downloader(
        client=client, sleep=Waits(), progress=lambda have, whole: told.append((have, whole))
    ).download(f"{server.url}/a.zip", tmp_path / "a.zip", expected=Expected())
    assert told[0][0] > 100_000
    assert told[-1] == (300_000, 300_000)
