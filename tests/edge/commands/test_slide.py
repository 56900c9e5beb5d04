"""Slides ordered from the command line, and their pseudonyms looked up."""

import os

import pytest
from typer.testing import CliRunner

from edge.cli import app
from edge.commands.slide import SlideOrderError
from edge.errors import ConfigError, PageError, StorageError
from edge.slide_identity import pseudonym, read_key
from edge.web.server import PageServer
from edge.web.testing import FakeStation

RUNNER = CliRunner()


@pytest.fixture
def station():
    station = FakeStation()
    station.advance()
    return station


@pytest.fixture
def server(station):
    with PageServer(view=station, port=0) as server:
        yield server


@pytest.fixture
def config(tmp_path):
    place = tmp_path / "station.toml"
    place.write_text(
        'site = "lab"\nstation = "s1"\nstate_dir = "var"\n'
        '[camera]\nkind = "virtual_slide"\n[page]\nport = 0\n'
    )
    (tmp_path / "var").mkdir()
    return place


def slide(*arguments, config, **options):
    result = RUNNER.invoke(app, ["slide", *map(str, arguments), "--config", str(config)], **options)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_slide_is_opened_paused_resumed_and_closed(config, server, station):
    page = ("--page", server.url)
    slide("open", "H-17", "--cells", 200, *page, config=config)
    view = station.snapshot().slide
    assert (view.name, view.target_cells) == ("H-17", 200)
    for order, state in (("pause", "paused"), ("resume", "open"), ("close", "closed")):
        slide(order, *page, config=config)
        assert station.snapshot().slide.state == state
    slide("open", "--unnamed", *page, config=config)
    assert station.snapshot().slide.name == "slide-0003"


def test_an_id_is_read_as_a_scanner_types_it(config, server, station):
    slide("open", "--page", server.url, config=config, input="H-18\n")
    assert station.snapshot().slide.name == "H-18"
    with pytest.raises(SlideOrderError, match="No accession id was given"):
        slide("open", "--page", server.url, config=config, input="\n")


def test_what_the_station_refuses_is_told_in_its_words(config, server, station):
    station.close_slide()
    with pytest.raises(SlideOrderError, match=r"No slide is open\. Open one first\."):
        slide("close", "--page", server.url, config=config)


def test_a_station_that_is_not_there_is_said(config, server):
    server.stop()
    with pytest.raises(PageError, match="does not say where"):
        slide("close", config=config)
    config.write_text(config.read_text().replace("port = 0", "port = 9"))
    with pytest.raises(PageError, match=r"http://127\.0\.0\.1:9 does not answer.*Start the station"):
        slide("close", config=config)


def test_a_pseudonym_is_looked_up_under_every_key(config):
    first = slide("pseudonym", "H-17", config=config).split()
    key_file = config.parent / "var" / "slide-identity.key"
    assert first == [pseudonym("H-17", read_key(key_file))]
    assert "Keep a copy" in slide("new-key", config=config)
    now = slide("pseudonym", config=config, input="H-17\n").split()
    assert now == [pseudonym("H-17", read_key(key_file)), *first]


def test_a_shared_key_is_not_replaced_on_one_station(config):
    config.write_text(config.read_text() + '[slide]\nkey_file = "laboratory.key"\n')
    with pytest.raises(ConfigError, match=r"laboratory's key.*on every station"):
        slide("new-key", config=config)
    with pytest.raises(ConfigError, match="cannot be read"):
        slide("pseudonym", "H-17", config=config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to somebody else")
def test_a_new_key_is_made_by_the_stations_own_user(config):
    os.chown(config.parent / "var", 65534, -1)
    with pytest.raises(StorageError, match="sudo -u nobody leukoscope-edge slide new-key"):
        slide("new-key", config=config)
