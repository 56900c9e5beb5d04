"""The parts of a slide session as a station's configuration puts them together."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from edge import slides
from edge.bundle import read_manifest, starter_bundle
from edge.config import parse_config
from edge.errors import ConfigError
from edge.outbox.store import Outbox

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def config(tmp_path, slide=""):
    text = (
        f'site = "lab"\nstation = "s"\nstate_dir = "{tmp_path}"\n[camera]\nkind = "virtual_slide"\n'
        f"[slide]\n{slide}"
    )
    return parse_config(text, path=tmp_path / "station.toml")


@pytest.fixture
def outbox(tmp_path):
    with Outbox(path=tmp_path / "outbox.sqlite", site="lab", station="s", software="test") as opened:
        yield opened


def desk(settings, outbox):
    return slides.slide_desk(
        config=settings,
        journal=outbox,
        manifest=read_manifest(starter_bundle()),
        software="test",
        now=lambda: NOW,
        clock=lambda: "synchronised",
    )


def test_the_settings_reach_the_count(tmp_path, outbox):
    settings = config(
        tmp_path,
        "target_cells = 200\nblast_half_width = 0.05\nmin_cells = 60\nlook_every_cells = 70\n"
        'blast_thresholds = [0.2, 0.1]\nidentity = "plain"\n',
    )
    assert slides.stop_rule(settings.slide).looks == (60, 130, 200)
    subject = desk(settings, outbox)
    subject.open("A 17")
    assert (subject.latest.slide, subject.latest.identity) == ("A 17", "plain")
    assert subject.latest.advice.level == pytest.approx(1 - 0.05 / 3)
    assert subject.latest.stamp.clock == "synchronised"


def test_ids_are_hidden_unless_that_is_unset(tmp_path, outbox):
    subject = desk(config(tmp_path), outbox)
    assert subject.hides_ids
    assert not (tmp_path / slides.OWN_KEY_NAME).exists()
    subject.open(None)  # a name by the time needs no key
    assert not (tmp_path / slides.OWN_KEY_NAME).exists()
    subject.open("A 17")
    assert (tmp_path / slides.OWN_KEY_NAME).exists()


def test_a_station_whose_shared_key_is_missing_does_not_start(tmp_path, outbox):
    with pytest.raises(
        ConfigError, match=r"laboratory\.key, which hides accession ids, cannot be read"
    ) as caught:
        desk(config(tmp_path, 'key_file = "laboratory.key"\n'), outbox)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "wrong", ["blast_thresholds = [0.0]", "blast_half_width = 0.6", 'identity = "hash"', "min_cells = 0"]
)
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=wrong.split(" ", maxsplit=1)[0]):
        config(Path("/nowhere"), wrong)


def test_a_run_goes_on_with_the_open_slide_or_begins_one(tmp_path, outbox):
    settings = config(tmp_path)
    first = desk(settings, outbox)
    slides.begin_slide(first, settings.slide)
    name = first.latest.slide
    second = desk(settings, outbox)
    slides.begin_slide(second, settings.slide)
    assert (second.latest.slide, second.latest.resumed) == (name, 1)
    second.close()
    third = desk(settings, outbox)
    slides.begin_slide(third, config(tmp_path, "open_at_start = false\n").slide)
    assert not third.is_open
