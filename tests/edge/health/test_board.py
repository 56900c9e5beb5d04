"""Temperature and throttling, from trees of files laid out as the boards' own sysfs."""

from __future__ import annotations

import pytest

from edge.health.board import GenericBoard, Heat, JetsonBoard, RaspberryBoard, find_board


@pytest.fixture
def sysfs(tmp_path):
    """Writes a tree: a path to its text."""

    def lay(files):
        for name, text in files.items():
            place = tmp_path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        return tmp_path

    return lay


ORIN = {
    "firmware/devicetree/base/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
    "class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "class/thermal/thermal_zone0/temp": "63625\n",
    "class/thermal/thermal_zone1/type": "gpu-thermal\n",
    # A unit that is switched off has no temperature: the driver gives an impossible one, or an error.
    "class/thermal/thermal_zone1/temp": "-256000\n",
    "class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "class/thermal/thermal_zone8/type": "tj-thermal\n",
    "class/thermal/thermal_zone8/temp": "64218\n",
    "class/thermal/cooling_device0/type": "pwm-fan\n",
    "class/thermal/cooling_device0/cur_state": "3\n",
    "class/thermal/cooling_device1/type": "cpu-throttle-alert\n",
    "class/thermal/cooling_device1/cur_state": "0\n",
    "class/thermal/cooling_device2/type": "cpufreq-cpu0\n",
    "class/thermal/cooling_device2/cur_state": "0\n",
    "class/hwmon/hwmon0/name": "pwmfan\n",
    "class/hwmon/hwmon3/name": "soctherm_oc\n",
    **{f"class/hwmon/hwmon3/oc{index}_throt_en": "1\n" for index in (1, 2, 3)},
    **{f"class/hwmon/hwmon3/oc{index}_event_cnt": "7\n" for index in (1, 2, 3)},
}
XAVIER = {
    "firmware/devicetree/base/compatible": "nvidia,p3449-0000+p3668-0001\0nvidia,tegra194\0",
    "class/thermal/thermal_zone0/type": "CPU-therm\n",
    "class/thermal/thermal_zone0/temp": "41500\n",
    "class/thermal/thermal_zone4/type": "PMIC-Die\n",
    "class/thermal/thermal_zone4/temp": "100000\n",
    "class/thermal/cooling_device7/type": "thermal-cpufreq-0\n",
    "class/thermal/cooling_device7/cur_state": "0\n",
}
RASPBERRY = {
    "firmware/devicetree/base/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "class/thermal/thermal_zone0/temp": "82350\n",
    "devices/platform/soc/soc:firmware/get_throttled": "0\n",
}
PERSONAL_COMPUTER = {
    "class/thermal/thermal_zone0/type": "acpitz\n",
    "class/thermal/thermal_zone0/temp": "27800\n",
    "class/hwmon/hwmon2/name": "coretemp\n",
    "class/hwmon/hwmon2/temp1_input": "55000\n",
    "class/hwmon/hwmon2/temp2_input": "57000\n",
    "class/hwmon/hwmon1/name": "nvme\n",
    "class/hwmon/hwmon1/temp1_input": "71000\n",
    "devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "12\n",
    "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "40\n",
}


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (ORIN, JetsonBoard),
        (XAVIER, JetsonBoard),
        (RASPBERRY, RaspberryBoard),
        (PERSONAL_COMPUTER, GenericBoard),
        ({}, GenericBoard),
    ],
)
def test_a_board_is_known_by_its_device_tree(sysfs, files, kind):
    assert isinstance(find_board(sysfs(files)), kind)


def test_a_cool_orin_with_its_fan_on_is_not_throttled(sysfs):
    assert JetsonBoard(sysfs(ORIN)).heat() == Heat(temperature_c=64.2, throttled=False)


def test_an_orin_that_slows_its_processors_says_by_what(sysfs):
    place = sysfs(ORIN | {"class/thermal/cooling_device1/cur_state": "1\n"})
    assert JetsonBoard(place).heat() == Heat(
        temperature_c=64.2, throttled=True, reason="cpu-throttle-alert is active"
    )


def test_over_current_events_count_from_one_look_to_the_next(sysfs):
    board = JetsonBoard(sysfs(ORIN))
    assert not board.heat().throttled
    sysfs({"class/hwmon/hwmon3/oc3_event_cnt": "9\n"})
    assert board.heat().reason == "the current has peaks that are too high"
    assert not board.heat().throttled


def test_an_event_that_is_counted_and_not_throttled_for_is_none(sysfs):
    board = JetsonBoard(sysfs(ORIN | {"class/hwmon/hwmon3/oc1_throt_en": "0\n"}))
    board.heat()
    sysfs({"class/hwmon/hwmon3/oc1_event_cnt": "8\n"})
    assert not board.heat().throttled


def test_a_zone_that_is_no_sensor_is_passed_over(sysfs):
    assert JetsonBoard(sysfs(XAVIER)).heat().temperature_c == 41.5


@pytest.mark.parametrize(
    ("said", "throttled", "reason"),
    [
        ("0", False, ""),
        ("50000", False, ""),
        ("50005", True, "the supply voltage is too low; it is throttled"),
        ("8", True, "its soft temperature limit is reached"),
        ("", None, ""),
    ],
)
def test_a_raspberry_tells_of_now_and_not_of_earlier(sysfs, said, throttled, reason):
    place = sysfs(RASPBERRY | {"devices/platform/soc/soc:firmware/get_throttled": f"{said}\n"})
    assert RaspberryBoard(place).heat() == Heat(temperature_c=82.3, throttled=throttled, reason=reason)


def test_any_other_machine_gives_its_processors_temperature_and_counts_its_slowings(sysfs):
    board = GenericBoard(sysfs(PERSONAL_COMPUTER))
    assert board.heat() == Heat(temperature_c=57.0, throttled=False)
    sysfs({"devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "13\n"})
    assert board.heat() == Heat(temperature_c=57.0, throttled=True, reason="the processor is too hot")


def test_a_machine_that_tells_nothing_is_not_called_cool(sysfs):
    assert GenericBoard(sysfs({})).heat() == Heat(temperature_c=None, throttled=None)
