"""Ranking losses for detectors, exact and fast; torch is all they need.

`parameterized_ap_loss` and `handmade_ap_loss` are one formula (`generalised_ap`) with different functions. Sums over
all pairs of scores come from `pairwise_sums`, the functions that it sums from `piecewise`.
"""

from trainer.losses.handmade_ap import handmade_ap_loss
from trainer.losses.parameterized_ap import ParameterizedAPLoss, identity_control_points, parameterized_ap_loss

__all__ = ["ParameterizedAPLoss", "handmade_ap_loss", "identity_control_points", "parameterized_ap_loss"]
