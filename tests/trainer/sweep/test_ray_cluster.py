import importlib

import pytest

from tests.trainer.sweep import toy
from tests.trainer.sweep.test_processes import command, figures, run_here
from trainer.errors import RunError
from trainer.sweep.processes import Processes
from trainer.sweep.ray_cluster import RayCluster


def test_without_ray_it_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RunError, match=r"pip install 'leukoscope\[ray\]'"), RayCluster(address="local"):
        pass


@pytest.mark.nightly
def test_a_local_cluster_finds_what_processes_find_and_survives_a_killed_worker(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'leukoscope[ray]')")
    calm, orders, out = tmp_path / "calm", tmp_path / "orders", tmp_path / "out"
    calm.mkdir()
    orders.mkdir()
    run_here(calm, tmp_path / "calm-out", Processes(workers=2))
    toy.order(orders, "adam-6/fold-1", 3, "kill-me")
    toy.order(orders, "sgd-6/fold-1", 3, "fail")
    # In a process of its own: Ray leaves sockets and threads behind that are no matter of the tests here.
    clustered = command(orders, out, "--ray", "local", "--workers", "2")
    said, wrong = clustered.communicate(timeout=200)
    assert clustered.returncode == 65, wrong
    assert "adam-6/fold-1: the process that ran it died; it is tried again" in said
    assert "sgd-6/fold-1: A picture is broken" in wrong
    failed = {(f"sgd-{epochs}", 1) for epochs in toy.EPOCHS}
    assert figures(out) == [each for each in figures(tmp_path / "calm-out") if each[:2] not in failed]
