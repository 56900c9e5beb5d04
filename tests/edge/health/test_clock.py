"""Whether the clock is synchronised, by whoever may be asked."""

from __future__ import annotations

import pytest

from edge.health.clock import clock_state, kernel_status


@pytest.mark.parametrize(("bits", "state"), [(0x2001, "synchronised"), (0x0041, "unsynchronised")])
def test_the_kernel_is_believed_before_all(tmp_path, bits, state):
    assert clock_state(status=lambda: bits, timesync=tmp_path / "none") == state


def test_without_the_kernels_word_the_daemons_mark_counts(tmp_path):
    def ask():
        return clock_state(status=lambda: None, timesync=tmp_path / "timesync")

    assert ask() == "unknown"
    (tmp_path / "timesync").mkdir()
    assert ask() == "unsynchronised"
    (tmp_path / "timesync" / "synchronized").touch()
    assert ask() == "synchronised"


def test_this_machines_kernel_answers_with_status_bits_or_refuses():
    status = kernel_status()
    assert status is None or 0 <= status < 0x10000
