"""How hot the machine is, and whether it holds itself back: one adapter a kind of board, over sysfs.

Sources: NVIDIA, Jetson Linux Developer Guide r36, "Platform Power and Performance", sections "Thermal
Management" and "Over-current Throttling" (thermal zones, cooling devices, ``soctherm_oc`` event counters);
Raspberry Pi documentation, "vcgencmd get_throttled", of which the firmware's sysfs file gives the same bits;
Linux, ``Documentation/ABI/testing/sysfs-class-thermal``, ``sysfs-class-hwmon`` and, for x86,
``sysfs-devices-system-cpu`` (``thermal_throttle``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

SYSFS: Final = Path("/sys")
_PLAUSIBLE_C: Final = (-40.0, 150.0)
# It always says 50 or 100 degrees on the boards that have it.
_NO_SENSORS: Final = frozenset({"PMIC-Die"})
_PROCESSOR_SENSORS: Final = frozenset({"coretemp", "k10temp", "zenpower", "cpu_thermal"})
_RASPBERRY_BITS: Final = {
    0: "the supply voltage is too low",
    1: "its frequency is capped",
    2: "it is throttled",
    3: "its soft temperature limit is reached",
}
_JETSON_OVERCURRENT: Final = {
    "oc1": "the supply voltage is too low",
    "oc2": "the mean current is too high",
    "oc3": "the current has peaks that are too high",
}


@dataclass(frozen=True, kw_only=True)
class Heat:
    """The hottest sensor, whether the processors are slowed down now, and by what.

    None is what the board does not tell. A slowing that is only counted holds from one look to the next.
    """

    temperature_c: float | None = None
    throttled: bool | None = None
    reason: str = ""


class Board(Protocol):
    """A kind of machine."""

    name: str

    def heat(self) -> Heat:
        """How hot it is now; what cannot be read is passed over."""
        ...


class JetsonBoard:
    """NVIDIA Jetson: thermal zones, cooling devices other than fans, and counters of over-current events."""

    name = "jetson"

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs
        self._events = _Growing()

    def heat(self) -> Heat:
        """Throttled while a cooling device slows a processor, or where an over-current event was counted."""
        cooled = [
            kind
            for place in _devices(self._sysfs, "cooling_device")
            if (kind := _text(place / "type"))
            and "fan" not in kind
            and (_number(place / "cur_state") or 0) > 0
        ]
        reasons = [f"{kind} is active" for kind in sorted(set(cooled))]
        for place in sorted(self._sysfs.glob("class/hwmon/hwmon*")):
            if _text(place / "name") != "soctherm_oc":
                continue
            for event, said in _JETSON_OVERCURRENT.items():
                counted = _number(place / f"{event}_event_cnt")
                if self._events.grew(event, counted) and _number(place / f"{event}_throt_en") != 0:
                    reasons.append(said)
        return Heat(
            temperature_c=_hottest(_zone_temperatures(self._sysfs)),
            throttled=bool(reasons),
            reason="; ".join(reasons),
        )


class RaspberryBoard:
    """Raspberry Pi: one thermal zone, and the firmware's own word on throttling."""

    name = "raspberry"

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs

    def heat(self) -> Heat:
        """The four lowest bits are of now; the sixteen above tell of earlier, and are passed over."""
        said = _text(self._sysfs / "devices/platform/soc/soc:firmware/get_throttled")
        try:
            bits = int(said, 16)
        except ValueError:
            bits = None
        reasons = [text for bit, text in _RASPBERRY_BITS.items() if (bits or 0) >> bit & 1]
        return Heat(
            temperature_c=_hottest(_zone_temperatures(self._sysfs)),
            throttled=None if bits is None else bool(reasons),
            reason="; ".join(reasons),
        )


class GenericBoard:
    """Any Linux machine: the processor's hwmon sensors, else thermal zones; x86 counts its slowings."""

    name = "generic"

    def __init__(self, sysfs: Path = SYSFS) -> None:
        self._sysfs = sysfs
        self._events = _Growing()

    def heat(self) -> Heat:
        """Throttled where a processor counted a slowing since the last look; unknown where none counts."""
        counts = {
            str(place): _number(place)
            for place in self._sysfs.glob("devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
        }
        grown = [self._events.grew(place, counted) for place, counted in counts.items()]
        processors = [
            celsius
            for place in self._sysfs.glob("class/hwmon/hwmon*")
            if _text(place / "name") in _PROCESSOR_SENSORS
            for sensor in place.glob("temp*_input")
            if (celsius := _celsius(sensor)) is not None
        ]
        return Heat(
            temperature_c=_hottest(processors or _zone_temperatures(self._sysfs)),
            throttled=any(grown) if counts else None,
            reason="the processor is too hot" if any(grown) else "",
        )


def find_board(sysfs: Path = SYSFS) -> Board:
    """The board that this machine says to be, by its device tree; a generic one where it has none."""
    compatible = _text(sysfs / "firmware/devicetree/base/compatible")
    if "nvidia,tegra" in compatible:
        return JetsonBoard(sysfs)
    if "raspberrypi," in compatible:
        return RaspberryBoard(sysfs)
    return GenericBoard(sysfs)


class _Growing:
    """Counters that rise when something happens; the first sight of one tells nothing."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def grew(self, name: str, count: int | None) -> bool:
        if count is None:
            return False
        before = self._seen.get(name, count)
        self._seen[name] = count
        return count > before


def _devices(sysfs: Path, kind: str) -> Iterator[Path]:
    yield from sorted(sysfs.glob(f"class/thermal/{kind}*"))


def _zone_temperatures(sysfs: Path) -> list[float]:
    return [
        celsius
        for place in _devices(sysfs, "thermal_zone")
        if _text(place / "type") not in _NO_SENSORS and (celsius := _celsius(place / "temp")) is not None
    ]


def _hottest(celsius: list[float]) -> float | None:
    return round(max(celsius), 1) if celsius else None


def _celsius(place: Path) -> float | None:
    thousandths = _number(place)
    if thousandths is None:
        return None
    celsius = thousandths / 1000
    return celsius if _PLAUSIBLE_C[0] <= celsius <= _PLAUSIBLE_C[1] else None


def _number(place: Path) -> int | None:
    try:
        return int(_text(place))
    except ValueError:
        return None


def _text(place: Path) -> str:
    """The file's text; empty where it cannot be read, as the sensor of a unit that is switched off."""
    try:
        return place.read_bytes().decode(errors="replace").strip("\0 \n")
    except OSError:
        return ""
