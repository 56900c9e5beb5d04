from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from trainer.errors import TrainerError
from trainer.fit import Recipe, cosine, fit
from trainer.run import RunDirectory


def squared_error(network, batch):
    return {"loss": (network(batch) - batch.sum(1, keepdim=True)).square().mean()}


def recipe(epochs: int = 4, **changes) -> Recipe:
    """A network with everything that holds state: BatchNorm, dropout, AdamW moments, a moving average."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
    made = Recipe(
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.02),
        batches=lambda rng: (torch.from_numpy(rng.normal(size=(8, 4)).astype("f")) for _ in range(3)),
        steps_per_epoch=3,
        losses=squared_error,
        evaluate=lambda trained: {"score": -float((trained(torch.ones(1, 4)) - 4).square())},
        score="score",
        epochs=epochs,
        seed=7,
        warmup_steps=2,
        average_decay=0.9,
    )
    return dataclasses.replace(made, **changes)


def test_a_run_stopped_in_the_middle_of_an_epoch_ends_with_the_same_weights(tmp_path):
    whole = RunDirectory.begin(tmp_path / "whole", {}, resume=False)
    fit(recipe(), whole, quiet=True)

    stopped = RunDirectory.begin(tmp_path / "stopped", {}, resume=False)
    seen = 0

    def interrupted(network, batch):
        nonlocal seen
        seen += 1
        if seen == 8:
            raise KeyboardInterrupt
        return squared_error(network, batch)

    with pytest.raises(KeyboardInterrupt):
        fit(recipe(losses=interrupted), stopped, quiet=True)
    assert stopped.require("last")["epoch"] == 1
    fit(recipe(), stopped, quiet=True)

    for part in ("network", "serving"):
        first, second = (run.require("last")[part] for run in (whole, stopped))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    assert [row["train_loss"] for row in whole.metrics()] == [row["train_loss"] for row in stopped.metrics()]


def test_another_seed_gives_other_weights(tmp_path):
    weights = []
    for seed in (1, 2):
        run = RunDirectory.begin(tmp_path / str(seed), {}, resume=False)
        fit(recipe(epochs=1, seed=seed), run, quiet=True)
        weights.append(run.require("last")["network"]["0.weight"])
    assert not torch.equal(*weights)


def test_a_finished_run_is_left_alone(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    score = fit(recipe(epochs=2), run, quiet=True)
    before = (run.path / "last.pt").read_bytes()
    assert fit(recipe(epochs=2), run, quiet=True) == score
    assert (run.path / "last.pt").read_bytes() == before


def test_the_best_epoch_is_kept_by_its_score(tmp_path):
    scores = iter([0.1, 0.7, 0.4])
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    best = fit(recipe(epochs=3, evaluate=lambda _: {"score": next(scores)}), run, quiet=True)
    assert best == {"score": 0.7}
    assert run.require("best")["epoch"] == 1
    assert run.require("last")["epoch"] == 2


def test_evaluation_sees_the_average_in_eval_mode_and_training_goes_on_from_its_own_weights(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    seen = []

    def evaluate(network):
        seen.append((network.training, network[0].weight.detach().clone()))
        return {"score": 0.0}

    made = recipe(epochs=1, evaluate=evaluate)
    fit(made, run, quiet=True)
    training, weight = seen[0]
    last = run.require("last")
    assert not training
    assert torch.equal(weight, last["serving"]["0.weight"])
    assert not torch.equal(weight, made.network[0].weight)
    assert torch.equal(made.network[0].weight, last["network"]["0.weight"])


def test_a_loss_that_is_no_number_stops_with_the_remedy(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    broken = recipe(losses=lambda network, batch: {"loss": network(batch).sum() * float("nan")})
    with pytest.raises(TrainerError, match="Lower the learning rate"):
        fit(broken, run, quiet=True)


def test_the_rate_rises_in_a_line_and_falls_in_a_half_cosine():
    rates = [cosine(step, steps=12, warmup_steps=2, final=0.1) for step in range(13)]
    assert rates[:2] == [0.5, 1.0]
    assert rates[7] == pytest.approx(0.55)
    assert rates[12] == pytest.approx(0.1)


def test_without_an_average_the_weights_are_served_as_they_are_and_written_once(tmp_path):
    sizes = {}
    for decay in (None, 0.9):
        run = RunDirectory.begin(tmp_path / str(decay), {}, resume=False)
        fit(recipe(epochs=1, average_decay=decay), run, quiet=True)
        sizes[decay] = (run.path / "last.pt").stat().st_size
        last = run.require("last")
        same = all(torch.equal(last["serving"][key], last["network"][key]) for key in last["network"])
        assert same == (decay is None)
    assert sizes[None] < sizes[0.9]


def test_a_checkpoint_that_holds_more_or_less_than_todays_is_gone_on_from(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    fit(recipe(epochs=1), run, quiet=True)
    last = run.require("last")
    assert set(last) == {"epoch", "network", "serving", "optimizer", "best_score"}, "as it always was"
    last["precision"] = {"scale": 2.0}  # left by a GPU's 16-bit training
    run.save("last", last)
    fit(recipe(epochs=2), run, quiet=True)
    assert run.require("last")["epoch"] == 1


def test_a_mean_weighs_every_sample_alike_whatever_its_batch(tmp_path):
    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    given = [torch.full((2, 4), 1.0), torch.full((6, 4), 5.0)]
    fit(
        recipe(
            epochs=1,
            steps_per_epoch=2,
            batches=lambda _: given,
            losses=lambda network, batch: {"loss": network(batch).sum() * 0 + batch.mean()},
            share=lambda batch: (len(batch), len(batch)),
        ),
        run,
        quiet=True,
    )
    assert run.metrics()[0]["train_loss"] == pytest.approx((2 * 1 + 6 * 5) / 8)


def test_waiting_for_batches_is_told_apart_from_training(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr("trainer.fit.time.perf_counter", lambda: now)

    def batches(rng):
        nonlocal now
        for _ in range(3):
            now += 2.0
            yield torch.from_numpy(rng.normal(size=(8, 4)).astype("f"))

    def losses(network, batch):
        nonlocal now
        now += 5.0
        return squared_error(network, batch)

    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    fit(recipe(epochs=1, batches=batches, losses=losses), run, quiet=True)
    record = run.metrics()[0]
    assert record["waited_seconds"] == 6.0
    assert record["seconds"] == 21.0


def test_gradients_are_cut_to_the_largest_norm_or_left_alone(tmp_path):
    moved = {}
    for largest in (1e-3, None):
        torch.manual_seed(0)
        network = nn.Linear(4, 1)
        before = network.weight.detach().clone()
        made = recipe(
            epochs=1,
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
            batches=lambda _: [torch.ones(8, 4)],
            steps_per_epoch=1,
            evaluate=lambda _: {"score": 0.0},
            largest_gradient_norm=largest,
            rate_factor=lambda *_: 1.0,
        )
        fit(made, RunDirectory.begin(tmp_path / str(largest), {}, resume=False), quiet=True)
        moved[largest] = float((network.weight.detach() - before).norm())
    assert moved[1e-3] <= 1e-3
    assert moved[None] > 0.1


def test_a_schedule_of_ones_own_sets_every_steps_rate(tmp_path):
    seen = []

    def factor(step, steps):
        seen.append((step, steps))
        return 0.5**step

    run = RunDirectory.begin(tmp_path / "run", {}, resume=False)
    fit(recipe(epochs=2, rate_factor=factor), run, quiet=True)
    assert seen == [(step, 6) for step in range(6)]
    assert [row["rate"] for row in run.metrics()] == pytest.approx([0.02 * 0.5**2, 0.02 * 0.5**5])
