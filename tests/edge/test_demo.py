"""The whole loop on one machine, with a real broker and without one."""

import sqlite3

import pytest

from edge import demo
from edge.broker import EmbeddedBroker, Mosquitto
from edge.demo import DemoOptions, run_demo


@pytest.mark.broker
@pytest.mark.parametrize("broker", [Mosquitto, EmbeddedBroker])
def test_what_the_station_saves_arrives_in_the_collectors_database(
    broker, handmade_bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(demo, "find_or_embed", broker)
    run_demo(
        DemoOptions(
            bundle=handmade_bundle,
            images=None,
            seed=1,
            port=0,
            browser=False,
            directory=tmp_path,
            seconds=5,
        )
    )
    told = capsys.readouterr().out
    connection = sqlite3.connect(tmp_path / "fleet.sqlite")
    sequences = [row[0] for row in connection.execute("SELECT sequence FROM records ORDER BY sequence")]
    connection.close()
    assert len(sequences) >= 3
    assert sequences == list(range(1, len(sequences) + 1))
    assert f"{len(sequences)} records saved, {len(sequences)} committed by the collector" in told
    assert "Not for diagnosis" in told
