"""Parameterized AP Loss (Tao et al., NeurIPS 2021), evaluated exactly without forming pairs."""

from functools import partial

import torch
from torch import Tensor

from paploss.losses.buffers import Float64Buffers
from paploss.losses.generalised_ap import APFunctions, generalised_ap_loss
from paploss.losses.pairwise_sums import SortedBreakpoints
from paploss.losses.piecewise import PiecewiseLinear, TruncatedPowers, check_control_points


def parameterized_ap_loss(
    logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor, top_k: int | None = None
) -> Tensor:
    """Parameterized AP Loss of one batch: its exact value and gradients in O(N log(|P| K)) time, O(N + |P| K) memory.

    Gradients reach the logits through H2 and the quality of the positives through I1, I2 and I3; H1 is detached, and
    the term j = i is part of both sums. Ignored entries take no part. Without a positive the loss is 0 and every
    gradient is 0. The result is finite for all control points: B_i is floored at 1e-6, and segments narrower than
    1e-7 (after coordinates within 1e-7 of 0 or 1 became 0 or 1) are jumps at their left end, without a slope.
    Functions are left-continuous, with f(0) = 0 and f(1) = 1; at a kink the derivative is the one from the left.

    Sums are accumulated in float64 for every input dtype. On a GPU one wait for the device remains (the number of
    positives decides the shapes); values are checked on the CPU only, and on a GPU NaN input gives a NaN loss.

    Args:
        logits: s, `[N]` floating. Half precision is taken to float32 first.
        quality: u, `[N]` floating, in [0, 1] at the positives (1e-6 beyond is clamped); not read elsewhere. Or
            `[P]`, of the positives alone in the order of index, which saves the other entries' memory.
        targets: t, `[N]`, each 1, 0 or -1.
        control_points: `[4 or 5, K+2, 2]`, rows H2, I2, I3, I1, H1 of points (x, y) from (0, 0) to (1, 1), never
            falling. With four rows H1(s_j - s_i) = sign(s_j - s_i) / 2 + 1/2.
        top_k: if given, only the k largest logits of V compete (as j), an approximation that others make for memory.

    Returns:
        Scalar of the logits' dtype, at least float32.

    Raises:
        ValueError: shapes that do not match; on the CPU also targets other than 1, 0, -1, NaN logits of valid
            entries, quality of a positive outside [0, 1], control points that are not as above.

    Source: Tao et al., "Searching Parameterized AP Loss for Object Detection", NeurIPS 2021.
    """
    check_control_points(control_points)
    functions = PiecewiseLinear.through(control_points.to(logits.device, torch.float64, non_blocking=True))
    h2, *h1 = functions[::4].of_difference()
    pairs = partial(SortedBreakpoints, functions=(h2, *(h1 or [TruncatedPowers.half_sign(logits.device)])))
    return generalised_ap_loss(logits, quality, targets, APFunctions(pairs, reach=1.0, quality=functions[1:4]), top_k)


def identity_control_points(knots: int = 4) -> Tensor:
    """Control points that make all five functions the identity, `[5, knots + 2, 2]` float64."""
    line = torch.linspace(0, 1, knots + 2, dtype=torch.float64)
    return line[None, :, None].repeat(5, 1, 2)


class ParameterizedAPLoss(Float64Buffers):
    """`parameterized_ap_loss` with fixed control points, which are kept as a buffer, float64 in every model.

    Args:
        control_points: `[4 or 5, K+2, 2]`, see `parameterized_ap_loss`; checked here once.
        top_k: see `parameterized_ap_loss`.
    """

    control_points: Tensor

    def __init__(self, control_points: Tensor, top_k: int | None = None) -> None:
        super().__init__()
        check_control_points(control_points.cpu())
        self.register_buffer("control_points", control_points.detach().double())
        self.top_k = top_k

    def forward(self, logits: Tensor, quality: Tensor, targets: Tensor) -> Tensor:
        """The loss of logits, quality and targets, all `[N]`; a scalar."""
        return parameterized_ap_loss(logits, quality, targets, self.control_points, self.top_k)

    def extra_repr(self) -> str:
        rows, points, _ = self.control_points.shape
        return f"functions={rows}, knots={points - 2}, top_k={self.top_k}"
