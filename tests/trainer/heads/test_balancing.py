"""When aLRP Loss weighs its box part anew, alone and in several processes."""

import multiprocessing
import os

import pytest
import torch
import torch.distributed as dist

from paploss.losses import ALRPLoss
from paploss.losses.alrp import FIRST_BOX_WEIGHT
from paploss.trainer.heads.balancing import balance

STEPS = torch.tensor([[[0.5, 0.2], [0.7, 0.4]], [[0.1, 0.6], [0.3, 0.8]]], dtype=torch.float64)
"""Both losses of each step of each process, `[process, step, 2]`."""


def train(loss: ALRPLoss, steps: torch.Tensor) -> None:
    detector = torch.nn.Sequential(torch.nn.Linear(1, 1), loss)
    for number, step in enumerate(steps):
        loss.epoch_sums += step  # as its forward does
        balance(detector, epoch_ended=number == len(steps) - 1)


def test_the_weight_follows_at_the_end_of_the_epoch():
    loss = ALRPLoss()
    train(loss, STEPS[0])
    assert loss.box_weight.item() == pytest.approx((1.2 + 0.6) / 0.6)
    assert not loss.epoch_sums.any()


def test_within_an_epoch_it_stays():
    loss = ALRPLoss()
    loss.epoch_sums += STEPS[0, 0]
    balance(loss, epoch_ended=False)
    assert loss.box_weight.item() == FIRST_BOX_WEIGHT
    assert loss.epoch_sums.any()


def train_as(rank: int, rendezvous: str, results: multiprocessing.SimpleQueue) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    loss = ALRPLoss()
    train(loss, STEPS[rank])
    results.put(loss.box_weight.item())
    dist.destroy_process_group()
    os._exit(0)  # a fork of pytest has nothing to clean up


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_processes_keep_one_weight_of_all_that_they_saw(tmp_path):
    # Forked, since a fresh interpreter would take seconds to import torch twice.
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    arguments = [(rank, str(tmp_path / "rendezvous"), results) for rank in range(2)]
    processes = [context.Process(target=train_as, args=one) for one in arguments]
    for process in processes:
        process.start()
    weights = [results.get() for _ in processes]
    for process in processes:
        process.join()
    assert weights == pytest.approx([(1.6 + 2.0) / 2.0] * 2)
