"""Ranking losses for detectors. Needs torch only."""

from trainer.losses.parameterized_ap_loss import parameterized_ap_loss

__all__ = ["parameterized_ap_loss"]
