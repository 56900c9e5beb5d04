"""Engines are kept whole or not at all, and none of them can keep a station from starting."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edge.cancellation import CancelledError
from edge.engine.engine_cache import MAX_BUILDS, Attempts, EngineCache
from edge.engine.engine_key import BatchRange, BuilderOptions, EngineKey, options_for
from edge.errors import EngineError, StorageError
from edge.update.testing import LOSSES, ForgetfulDisk, Loss

KEY = EngineKey(
    role="detector",
    onnx_sha256="a" * 64,
    tensorrt="tensorrt 10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    driver="CUDA 12.6",
    precision="fp16",
    options=options_for("detector"),
)
PLAN = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(directory=tmp_path / "engines")


def build(cache: EngineCache, key: EngineKey = KEY, plan: bytes = PLAN) -> None:
    with cache.building(key):
        cache.store(key, plan)


def engine_file(cache: EngineCache, key: EngineKey = KEY) -> Path:
    return cache.directory / f"{key.digest()}.engine"


def test_what_was_built_is_given_as_it_was(cache: EngineCache) -> None:
    assert cache.why_not(KEY) == "Its engine is not built yet."
    build(cache)
    assert cache.why_not(KEY) is None
    for _ in range(3):
        with cache.trying(KEY) as candidate:
            assert candidate.plan == PLAN


@pytest.mark.parametrize(
    "change",
    [
        {"role": "classifier"},
        {"onnx_sha256": "b" * 64},
        {"tensorrt": "tensorrt 10.13.0"},
        {"gpu": "Thor"},
        {"compute_capability": "11.0"},
        {"driver": "CUDA 13.0"},
        {"precision": "int8"},
        {"calibration_sha256": "c" * 64},
        {"options": BuilderOptions(batch=BatchRange(least=1, usual=2, most=4))},
        {"options": BuilderOptions(batch=BatchRange(), workspace_bytes=1)},
        {"options": BuilderOptions(batch=BatchRange(), dla_core=0)},
        {"options": BuilderOptions(batch=BatchRange(), optimization_level=5)},
        {"options": BuilderOptions(batch=BatchRange(), rules=2)},
    ],
)
def test_an_engine_is_good_for_nothing_else(cache: EngineCache, change: dict[str, object]) -> None:
    build(cache)
    other = KEY.model_copy(update=change)
    assert cache.why_not(other) == "Its engine is not built yet."
    with pytest.raises(EngineError, match="engine here: Its engine is not built"), cache.trying(other):
        pass


def test_an_engine_of_another_key_under_this_name_is_deleted(cache: EngineCache) -> None:
    other = KEY.model_copy(update={"gpu": "Thor"})
    build(cache, other)
    engine_file(cache, other).rename(engine_file(cache))
    with pytest.raises(EngineError, match="was built for something else; it was deleted"), cache.trying(KEY):
        pass
    assert not engine_file(cache).exists()


@pytest.mark.parametrize("harm", ["cut", "flipped", "longer", "header", "empty", "foreign"])
def test_damaged_bytes_never_reach_tensorrt_and_are_built_once_more(cache: EngineCache, harm: str) -> None:
    build(cache)
    place = engine_file(cache)
    whole = place.read_bytes()
    flipped = whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:]
    place.write_bytes(
        {
            "cut": whole[:-100],
            "flipped": flipped,
            "longer": whole + b"x",
            "header": whole[1:],
            "empty": b"",
            "foreign": b"\x7fELF" * 500,
        }[harm]
    )
    with pytest.raises(EngineError, match="it was deleted") as caught, cache.trying(KEY):
        pytest.fail("damaged bytes were given out")
    assert "leukoscope-export engine" in caught.value.remedy
    assert not place.exists()
    build(cache)
    with cache.trying(KEY) as candidate:
        assert candidate.plan == PLAN


def test_an_engine_that_cannot_be_loaded_is_built_once_more_and_then_given_up(cache: EngineCache) -> None:
    for _ in range(MAX_BUILDS):
        build(cache)
        with cache.trying(KEY) as candidate:
            candidate.condemn()
        assert not engine_file(cache).exists()
    assert cache.why_not(KEY) == "Its engine was given up after 2 builds."
    with pytest.raises(EngineError, match="given up after 2 builds") as caught, cache.building(KEY):
        pytest.fail("a third build was begun")
    assert "ONNX Runtime answers instead" in caught.value.remedy


def test_builds_that_come_to_nothing_are_counted_too(cache: EngineCache) -> None:
    for _ in range(MAX_BUILDS):
        with pytest.raises(EngineError, match="out of memory"), cache.building(KEY):
            raise EngineError("The builder ran out of memory.")
    with pytest.raises(EngineError, match="given up"), cache.building(KEY):
        pytest.fail("a third build was begun")


def test_a_build_that_somebody_cancelled_is_not_counted(cache: EngineCache) -> None:
    for _ in range(2 * MAX_BUILDS):
        with pytest.raises(CancelledError), cache.building(KEY):
            raise CancelledError
    build(cache)


def test_an_engine_that_proved_itself_starts_with_a_clean_slate(cache: EngineCache) -> None:
    for _ in range(3 * MAX_BUILDS):
        build(cache)
        with cache.trying(KEY):
            pass


def test_a_person_can_have_it_tried_anew(cache: EngineCache) -> None:
    test_an_engine_that_cannot_be_loaded_is_built_once_more_and_then_given_up(cache)
    cache.forget(KEY)
    assert cache.why_not(KEY) == "Its engine is not built yet."
    build(cache)
    cache.forget(KEY)
    assert not engine_file(cache).exists()


def test_what_is_not_the_engines_fault_condemns_nothing(cache: EngineCache) -> None:
    build(cache)
    with pytest.raises(KeyboardInterrupt), cache.trying(KEY):
        raise KeyboardInterrupt
    with pytest.raises(EngineError, match="another"), cache.trying(KEY):
        raise EngineError("It was another engine.")
    with cache.trying(KEY) as candidate:
        assert candidate.plan == PLAN


CHILD = """
    import os, signal, sys
    from pathlib import Path
    from edge.engine.engine_cache import EngineCache
    from edge.engine.engine_key import EngineKey
    from edge.errors import EngineError
    cache = EngineCache(directory=Path(sys.argv[1]))
    key = EngineKey.model_validate_json(sys.argv[2])
    def crash():
        os.kill(os.getpid(), signal.SIGSEGV)
    try:
        if cache.why_not(key) is not None:
            with cache.building(key):
                if sys.argv[3] == "build":
                    crash()
                cache.store(key, b"an engine that crashes")
        with cache.trying(key):
            if sys.argv[3] == "load":
                crash()
    except EngineError as error:
        sys.exit(str(error))
    print("served")
"""


@pytest.mark.parametrize("where", ["build", "load"])
def test_an_engine_that_crashes_the_process_is_no_crash_loop(cache: EngineCache, where: str) -> None:
    """A station that is restarted again and again: it crashes twice at most, and then runs without."""
    arguments = [sys.executable, "-c", textwrap.dedent(CHILD), str(cache.directory), KEY.model_dump_json()]
    ends = [
        subprocess.run([*arguments, where], capture_output=True, text=True, check=False)
        for _ in range(MAX_BUILDS + 1)
    ]
    assert [each.returncode for each in ends] == [-signal.SIGSEGV] * MAX_BUILDS + [1]
    assert "given up after 2 builds" in ends[-1].stderr
    assert cache.why_not(KEY) == "Its engine was given up after 2 builds."


def test_two_processes_do_not_try_or_build_one_engine_at_once(cache: EngineCache) -> None:
    build(cache)
    lock = os.open(engine_file(cache).with_suffix(".lock"), os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with (
            pytest.raises(EngineError, match=r"Another process .* is building or loading"),
            cache.trying(KEY),
        ):
            pytest.fail("tried beside another")
        with (
            pytest.raises(EngineError, match=r"Another process .* is building or loading"),
            cache.building(KEY),
        ):
            pytest.fail("built beside another")
    finally:
        os.close(lock)
    with cache.trying(KEY) as candidate:
        assert candidate.plan == PLAN


def test_a_damaged_note_allows_one_more_build(cache: EngineCache) -> None:
    build(cache)
    engine_file(cache).unlink()
    engine_file(cache).with_suffix(".attempts").write_bytes(b"\0\0\0")
    build(cache)
    engine_file(cache).unlink()
    with pytest.raises(EngineError, match="given up"), cache.building(KEY):
        pytest.fail("a further build was begun")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_power_cut_leaves_a_whole_engine_or_none(tmp_path: Path, loss: Loss) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    (root / "engines").mkdir()
    disk = ForgetfulDisk(root=root)
    cache = EngineCache(directory=root / "engines", filesystem=disk)
    build(cache)
    disk.lose_power(loss)
    after = EngineCache(directory=root / "engines")
    with after.trying(KEY) as candidate:
        assert candidate.plan == PLAN, "what was stored had been synced"


def test_without_syncs_a_power_cut_spoils_the_engine_and_it_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    (root / "engines").mkdir(parents=True)
    disk = ForgetfulDisk(root=root, honours_sync=False)
    build(EngineCache(directory=root / "engines", filesystem=disk))
    disk.lose_power("last_torn")
    with pytest.raises(EngineError), EngineCache(directory=root / "engines").trying(KEY):
        pytest.fail("torn bytes were given out")


class FullDisk(ForgetfulDisk):
    def write(self, path: Path, content: bytes) -> None:  # noqa: ARG002 - the disk's
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_one_message_and_nothing_is_tried(tmp_path: Path) -> None:
    build(EngineCache(directory=tmp_path))
    full = EngineCache(directory=tmp_path, filesystem=FullDisk(root=tmp_path))
    with pytest.raises(StorageError, match="No space left on device"), full.trying(KEY):
        pytest.fail("tried without a note that it is")
    with pytest.raises(StorageError, match="cannot be kept") as caught, full.building(KEY):
        pytest.fail("built without a note that it is")
    assert "ONNX Runtime answers meanwhile" in caught.value.remedy


def test_what_was_not_used_for_longest_is_let_go(cache: EngineCache) -> None:
    keys = [KEY.model_copy(update={"onnx_sha256": f"{place:064x}"}) for place in range(30)]
    for age, key in enumerate(keys):
        build(cache, key)
        os.utime(engine_file(cache, key), (age, age))
    assert sum(cache.why_not(key) is None for key in keys) == 24
    assert cache.why_not(keys[-1]) is None
    assert cache.why_not(keys[0]) is not None


def test_timings_belong_to_the_machine_and_not_to_a_network(cache: EngineCache) -> None:
    assert cache.timings(KEY) == b""
    cache.keep_timings(KEY, b"measured")
    assert cache.timings(KEY.model_copy(update={"onnx_sha256": "b" * 64})) == b"measured"
    assert cache.timings(KEY.model_copy(update={"driver": "CUDA 13.0"})) == b""


def test_attempts_are_counted_from_the_last_proof() -> None:
    once = Attempts().building()
    assert (once.builds, once.spent) == (1, False)
    assert once.began_trying().trying
    assert not once.began_trying().failed().trying
    assert once.began_trying().failed().building().spent
