"""What every binding to a GPU promises; a binding's test runs these on its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

from edge.engine.device_buffers import Device
from edge.errors import EngineError

FAR_TOO_MUCH_BYTES = 1 << 50


def hold_to_contract(make: Callable[[], Device]) -> None:
    """Run the promises of ``Device`` on devices that ``make`` gives, not yet entered."""
    _nothing_works_outside(make)
    with make() as device:
        assert device.name, "records say which binding it was"
        assert device.stream
        with device.current():
            _what_goes_up_comes_down(device)
            _the_beginning_of_an_array_is_enough(device)
            _a_graph_does_again_what_was_captured(device)
            _a_failed_capture_leaves_the_stream_usable(device)
            _too_much_memory_is_refused(device)
        _another_thread_may_go_on(device)


def _nothing_works_outside(make: Callable[[], Device]) -> None:
    device = make()
    with pytest.raises(EngineError, match="not open"), device.current():
        pass
    with pytest.raises(EngineError, match="not open"):
        device.allocate(16)
    with device:
        pass
    device.__exit__(None, None, None)
    with pytest.raises(EngineError, match="not open"):
        device.synchronize()


def _what_goes_up_comes_down(device: Device) -> None:
    for dtype, shape in (("uint8", (2, 5, 7, 3)), ("float32", (4,)), ("int64", (3, 2)), ("float32", ())):
        up, down = device.pinned(shape=shape, dtype=dtype), device.pinned(shape=shape, dtype=dtype)
        assert up.shape == shape
        assert up.dtype == dtype
        assert up.flags.c_contiguous
        assert up.flags.writeable
        values = np.random.default_rng(1).integers(0, 200, shape).astype(dtype)
        up[...] = values
        address = device.allocate(up.nbytes)
        device.upload(up, address)
        device.download(address, down)
        device.synchronize()
        np.testing.assert_array_equal(down, values)


def _the_beginning_of_an_array_is_enough(device: Device) -> None:
    up, down = device.pinned(shape=(6, 4), dtype="int64"), device.pinned(shape=(6, 4), dtype="int64")
    up[...] = np.arange(24).reshape(6, 4)
    down[...] = -1
    address = device.allocate(up.nbytes)
    device.upload(up[:2], address)
    device.download(address, down[:2])
    device.synchronize()
    np.testing.assert_array_equal(down[:2], up[:2])
    assert (down[2:] == -1).all()


def _a_graph_does_again_what_was_captured(device: Device) -> None:
    up, down = device.pinned(shape=(8,), dtype="float32"), device.pinned(shape=(8,), dtype="float32")
    address = device.allocate(up.nbytes)

    def there_and_back() -> None:
        device.upload(up, address)
        device.download(address, down)

    down[...] = -1
    launch = device.capture(there_and_back)
    if launch is None:
        return
    device.synchronize()
    assert (down == -1).all(), "what is captured is not done"
    for value in (3, 4):
        up[...] = value
        launch()
        device.synchronize()
        assert (down == value).all()


def _a_failed_capture_leaves_the_stream_usable(device: Device) -> None:
    def fails() -> None:
        raise EngineError("It cannot be captured.")

    with suppress(EngineError):  # a binding without graphs does not try
        device.capture(fails)
    _what_goes_up_comes_down(device)


def _too_much_memory_is_refused(device: Device) -> None:
    with pytest.raises(EngineError, match="The GPU refused"):
        device.allocate(FAR_TOO_MUCH_BYTES)
    _what_goes_up_comes_down(device)


def _another_thread_may_go_on(device: Device) -> None:
    faults: list[BaseException] = []

    def elsewhere() -> None:
        try:
            with device.current():
                _what_goes_up_comes_down(device)
        except (AssertionError, EngineError) as error:
            faults.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(timeout=20)
    assert faults == []
