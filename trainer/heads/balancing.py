"""aLRP Loss weighs its box part anew after each epoch; only the training loop knows when one is over."""

from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from torch import nn

from paploss.losses import ALRPLoss
from paploss.trainer import distributed


def balance(detector: nn.Module, *, epoch_ended: bool) -> None:
    """To be called after each step of a training: aLRP Losses in `detector`, if any, get ready for the next one.

    What they remember of the epoch becomes the mean over the processes of the training, so that all keep the same
    weight, and the checkpoint of one of them is valid for all.
    """
    for loss in detector.modules():
        if isinstance(loss, ALRPLoss):
            distributed.average(loss.epoch_sums)
            if epoch_ended:
                loss.end_epoch()


@HOOKS.register_module()
class BalancingHook(Hook):  # type: ignore[misc]
    """`balance` for mmengine's training loops."""

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        balance(runner.model, epoch_ended=False)

    def after_train_epoch(self, runner: Any) -> None:
        balance(runner.model, epoch_ended=True)
