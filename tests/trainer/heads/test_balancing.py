"""When aLRP Loss weighs its box part anew, alone and in several processes."""

import pytest
from two_devices import ALRP_STEPS, end_epoch

from paploss.losses import ALRPLoss
from paploss.losses.alrp import FIRST_BOX_WEIGHT
from paploss.trainer.heads.balancing import balance


def test_the_weight_follows_at_the_end_of_the_epoch():
    loss = ALRPLoss()
    end_epoch(loss, ALRP_STEPS[0])
    assert loss.box_weight.item() == pytest.approx((1.2 + 0.6) / 0.6)
    assert not loss.epoch_sums.any()


def test_within_an_epoch_it_stays():
    loss = ALRPLoss()
    loss.epoch_sums += ALRP_STEPS[0, 0]
    balance(loss, epoch_ended=False)
    assert loss.box_weight.item() == FIRST_BOX_WEIGHT
    assert loss.epoch_sums.any()


def test_processes_keep_one_weight_of_all_that_they_saw(on_two_devices):
    assert on_two_devices["box weights"].flatten().tolist() == pytest.approx([(1.6 + 2.0) / 2.0] * 2)
