"""Ranking losses for detectors, exact and fast; torch is all they need.

`parameterized_ap_loss` and `handmade_ap_loss` are one formula (`generalised_ap`) with different functions; their
gradient is derived. `ap_loss`, `alrp_loss` and `rank_sort_loss` define theirs (`error_driven`). Sums over all pairs of
scores come from `pairwise_sums`, the functions that it sums from `piecewise`.
"""

from paploss.losses.alrp import ALRP, ALRPLoss, alrp_loss
from paploss.losses.ap import APLoss, ap_loss
from paploss.losses.handmade_ap import handmade_ap_loss
from paploss.losses.parameterized_ap import ParameterizedAPLoss, identity_control_points, parameterized_ap_loss
from paploss.losses.rank_sort import RankSortErrors, RankSortLoss, rank_sort_loss

__all__ = [
    "ALRP",
    "ALRPLoss",
    "APLoss",
    "ParameterizedAPLoss",
    "RankSortErrors",
    "RankSortLoss",
    "alrp_loss",
    "ap_loss",
    "handmade_ap_loss",
    "identity_control_points",
    "parameterized_ap_loss",
    "rank_sort_loss",
]
