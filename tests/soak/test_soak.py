"""The station at full speed: it does not grow. Bounded in every run, an hour by night.

``LEUKOSCOPE_SOAK_S`` sets the nightly one's seconds.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from benchmarks.soak import MEMORY_SHARE, YOUNG_MEMORY_SHARE, Sample, judged, soak
from edge.bundle import starter_bundle

STEADY = [
    Sample(
        at_s=float(at),
        memory_bytes=2e8 + (at * 7919 % 13) * 1e5,
        open_files=40.0 + at % 3,
        threads=20.0 + at % 2,
        fields=at * 10.0,
        restarts=0.0,
        degraded=0.0,
    )
    for at in range(120)
]


def test_a_steady_station_passes():
    assert judged(STEADY, collected=5, slides=1).faults == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda each: replace(each, memory_bytes=each.memory_bytes + each.at_s * 2e5), "memory grew"),
        (lambda each: replace(each, open_files=each.open_files + each.at_s // 20), "open files rose"),
        (lambda each: replace(each, threads=each.threads + each.at_s // 30), "threads rose"),
        (lambda each: replace(each, restarts=1.0), "1 restarts"),
        (lambda each: replace(each, fields=7.0), "no field was counted"),
    ],
)
def test_a_station_that_leaks_or_stands_does_not(change, fault):
    (found,) = judged([change(each) for each in STEADY], collected=5, slides=1).faults
    assert fault in found


def test_a_step_in_memory_is_no_leak():
    stepped = [
        replace(each, memory_bytes=each.memory_bytes + (8e6 if each.at_s > 70 else 0)) for each in STEADY
    ]
    assert judged(stepped, collected=5, slides=1).faults == ()


@pytest.mark.broker
@pytest.mark.parametrize(
    ("seconds", "memory_share"),
    [
        pytest.param(25.0, YOUNG_MEMORY_SHARE, id="bounded"),
        pytest.param(
            float(os.environ.get("LEUKOSCOPE_SOAK_S", "3600")),
            MEMORY_SHARE,
            id="whole",
            marks=[pytest.mark.nightly, pytest.mark.timeout(0)],
        ),
    ],
)
def test_the_station_does_not_grow(seconds, memory_share, tmp_path, mosquitto, capsys):
    soaked = soak(tmp_path, starter_bundle(), mosquitto, seconds=seconds, memory_share=memory_share)
    with capsys.disabled():
        print(f"\nsoak: {soaked}")
    assert soaked.faults == ()
