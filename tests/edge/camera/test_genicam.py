"""GenICam against a producer that is made up, and against the software camera that comes with genicam."""

from __future__ import annotations

import importlib.util
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.camera.controls import CameraControls
from edge.camera.genicam import LAYOUTS, PRODUCERS_VARIABLE, GenicamCamera, load_harvesters
from edge.camera.testing import FakeHarvesters
from edge.errors import CameraError
from tests.edge.camera import contract

COLOUR = (200, 100, 50)


def red_picture(pixel_format: str, width_px: int, height_px: int) -> np.ndarray:
    """What a camera sends of one colour all over, as each pixel format lays it out."""
    red, green, blue = COLOUR
    if pixel_format.startswith("Bayer"):
        cells = {"R": red, "G": green, "B": blue}
        pattern = {"RG": "RGGB", "GR": "GRBG", "BG": "BGGR", "GB": "GBRG"}[pixel_format[5:7]]
        tile = np.array([cells[each] for each in pattern]).reshape(2, 2)
        samples = np.tile(tile, (height_px // 2, width_px // 2))
    elif pixel_format.startswith("Mono"):
        samples = np.full((height_px, width_px), green)
    else:
        order = {"RGB8": COLOUR, "BGR8": COLOUR[::-1], "RGBa8": (*COLOUR, 9), "BGRa8": (*COLOUR[::-1], 9)}
        samples = np.tile(np.array(order[pixel_format]), (height_px, width_px, 1))
    if "12" in pixel_format:
        return (samples.astype("<u2") << 4) + 7
    return samples.astype(np.uint8)


@pytest.fixture
def producer(tmp_path: Path) -> Path:
    path = tmp_path / "maker.cti"
    path.touch()
    return path


def camera(library: FakeHarvesters, producer: Path, **settings: Any) -> GenicamCamera:
    return GenicamCamera(producer=producer, load=library.load, **settings)


def test_it_is_a_camera(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    contract.holds(lambda: camera(library, producer))


def test_a_cable_that_is_pulled_and_put_back_brings_it_back(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    contract.comes_back(lambda: camera(library, producer), unplug=library.unplug, plug_in=library.plug_in)


@pytest.mark.parametrize("padding_bytes", [0, 6])
@pytest.mark.parametrize(
    ("pixel_format", "colour"),
    [
        ("Mono8", (100, 100, 100)),
        ("Mono12", (100, 100, 100)),
        ("BayerRG8", COLOUR),
        ("BayerGR8", COLOUR),
        ("BayerBG8", COLOUR),
        ("BayerGB8", COLOUR),
        ("BayerRG12", COLOUR),
        ("RGB8", COLOUR),
        ("BGR8", COLOUR),
        ("RGBa8", COLOUR),
        ("BGRa8", COLOUR),
    ],
)
def test_pixel_formats_become_rgb(
    producer: Path, pixel_format: str, colour: tuple[int, int, int], padding_bytes: int
) -> None:
    library = FakeHarvesters(picture=red_picture, formats=(pixel_format,), padding_bytes=padding_bytes)
    with camera(library, producer) as subject:
        frame = subject.read()
    assert frame is not None
    assert frame.pixels.shape == (48, 64, 3)
    assert (frame.pixels == colour).all()


def test_the_cameras_size_rate_and_format_are_set(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    with camera(
        library, producer, pixel_format="RGB8", width_px=128, height_px=96, frame_rate_hz=12.0
    ) as subject:
        frame = subject.read()
    assert frame is not None
    assert (frame.width_px, frame.height_px) == (128, 96)
    assert library.nodes.AcquisitionFrameRate.value == 12.0


def test_fixed_controls_switch_every_automatic_off_and_are_read_back(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    controls = CameraControls(exposure_us=8003, gain=3, white_balance=(1.9, 1.4))
    with camera(library, producer, controls=controls) as subject:
        frame = subject.read()
    nodes = library.nodes
    assert (nodes.ExposureAuto.value, nodes.GainAuto.value, nodes.BalanceWhiteAuto.value) == ("Off",) * 3
    assert frame is not None
    assert frame.exposure_us == 8000, "in steps of 12.5: what the camera holds, not what was asked"
    assert (frame.gain, frame.colour_gains) == (3, (1.9, 1.4))


def test_without_controls_the_automatics_stay_and_nothing_is_claimed(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    with camera(library, producer) as subject:
        frame = subject.read()
    assert library.nodes.ExposureAuto.value == "Continuous"
    assert frame is not None
    assert (frame.exposure_us, frame.gain, frame.colour_gains) == (None, None, None)


def test_the_newest_frame_is_given_and_every_buffer_goes_back(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture, newest_only=False)
    with camera(library, producer) as subject:
        library.waiting = 2
        assert subject.read() is not None
        assert library.fetched == 3, "two stale ones are passed over"
        for _ in range(10):
            subject.read()
        assert library.held_buffers == 0


def test_an_incomplete_picture_is_passed_over(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    library.lost_packets = 3
    with camera(library, producer) as subject:
        assert subject.read() is not None


def test_silence_is_a_loss_after_its_time(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    now_s = iter(range(10_000))
    with camera(library, producer, timeout_s=20, clock=lambda: float(next(now_s))) as subject:
        library.lost_packets = 10_000
        with pytest.raises(CameraError, match="no picture for 20 s"):
            subject.read()


def test_a_picture_that_is_too_short_is_a_loss(producer: Path) -> None:
    library = FakeHarvesters(picture=lambda *each: red_picture(*each)[:-8].repeat(2, axis=0)[:12])
    with camera(library, producer) as subject, pytest.raises(CameraError, match="no picture of 64 x 48"):
        subject.read()
    assert library.held_buffers == 0


def test_a_format_that_is_not_understood_names_those_that_are(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture, formats=("Coord3D_ABC32f", "BayerRG8"))
    fault = contract.tells_that_it_is_absent(camera(library, producer))
    assert "Coord3D_ABC32f" in fault.fault
    assert "BayerRG8" in fault.remedy
    assert library.owned == set(), "the camera is given back"


def test_of_several_cameras_one_must_be_named(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture, serials=("11", "12"))
    assert "11, 12" in contract.tells_that_it_is_absent(camera(library, producer)).fault
    assert "11, 12" in contract.tells_that_it_is_absent(camera(library, producer, serial="13")).fault
    with camera(library, producer, serial="12") as subject:
        assert library.owned == {"12"}
        assert "in use" in contract.tells_that_it_is_absent(camera(library, producer, serial="12")).fault
        assert subject.read() is not None


def test_a_value_out_of_bounds_or_a_feature_that_is_lacking_is_told(producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    beyond = camera(library, producer, controls=CameraControls(gain=99))
    assert "between 0 and 24" in contract.tells_that_it_is_absent(beyond).fault
    del library.nodes.Gain
    lacking = camera(library, producer, controls=CameraControls(gain=3))
    assert "no feature Gain" in contract.tells_that_it_is_absent(lacking).fault


def test_producers_are_found_by_the_standards_variable(tmp_path: Path, producer: Path) -> None:
    library = FakeHarvesters(picture=red_picture)
    environment = {PRODUCERS_VARIABLE: f"{tmp_path / 'nowhere'}:{tmp_path}"}
    with GenicamCamera(load=library.load, environment=environment) as subject:
        assert subject.read() is not None
    assert library.files == [str(producer)]
    unnamed = GenicamCamera(load=library.load, environment={})
    assert PRODUCERS_VARIABLE in contract.tells_that_it_is_absent(unnamed).fault
    gone = GenicamCamera(load=library.load, producer=tmp_path / "gone.cti")
    assert "gone.cti" in contract.tells_that_it_is_absent(gone).fault


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "harvesters.core", None)
    with pytest.raises(CameraError, match="cannot be loaded") as fault:
        load_harvesters()
    assert "leukoscope[genicam]" in fault.value.remedy


@pytest.fixture
def viky() -> Path:
    """The software producer of three cameras that the package genicam brings."""
    if importlib.util.find_spec("harvesters") is None:
        pytest.skip("harvesters is not installed (pip install 'leukoscope[genicam]')")
    spec = importlib.util.find_spec("genicam")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("viky.cti")


def test_a_real_producer_is_a_camera(viky: Path) -> None:
    filters, handler = list(warnings.filters), signal.getsignal(signal.SIGINT)
    contract.holds(lambda: GenicamCamera(producer=viky, serial="1", timeout_s=5))
    assert warnings.filters == filters, "the library's own changes to the program are undone"
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_real_producers_settings_hold(viky: Path) -> None:
    settings: dict[str, Any] = {"width_px": 200, "height_px": 120, "pixel_format": "Mono8"}
    with GenicamCamera(producer=viky, serial="2", timeout_s=5, frame_rate_hz=50, **settings) as subject:
        frame = subject.read()
    assert frame is not None
    assert frame.pixels.shape == (120, 200, 3)
    assert (frame.pixels[..., 0] == frame.pixels[..., 2]).all()


def test_a_real_producers_refusals_are_told(viky: Path) -> None:
    for settings, said in (
        ({"serial": "9"}, "0, 1, 2"),
        ({}, "0, 1, 2"),
        ({"serial": "1", "pixel_format": "Nope"}, "Nope"),
        ({"serial": "1", "width_px": 7}, "must be equal or greater"),
        ({"serial": "1", "controls": CameraControls(gain=2)}, "no feature Gain"),
    ):
        subject = GenicamCamera(producer=viky, timeout_s=5, **settings)
        assert said in contract.tells_that_it_is_absent(subject).fault
    with GenicamCamera(producer=viky, serial="1", timeout_s=5) as again:
        assert again.read() is not None, "no refusal keeps the camera"


def test_the_pixel_formats_are_the_librarys_own(viky: Path) -> None:
    from harvesters.util.pfnc import Dictionary, dict_by_ints

    known = set(dict_by_ints.values())
    samples = np.arange(240, dtype=np.uint8)
    for name in LAYOUTS.keys() & known:
        expanded = Dictionary.get_proxy(symbolic=name).expand(samples)
        assert expanded.dtype == (np.uint8 if LAYOUTS[name].bits == 8 else np.uint16), name
    assert {name for name in LAYOUTS if name not in known} <= {
        f"Bayer{each}14" for each in ("RG", "GR", "BG", "GB")
    }
