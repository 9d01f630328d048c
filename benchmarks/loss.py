"""How fast, how big and how exact the Parameterized AP Loss is: `python -m benchmarks.loss [--device cuda]`.

Compares forward + backward with a plain pairwise implementation of the same formula and with a lean sigmoid focal
loss, in the same run and alternately, and takes medians. Three kinds of input: in `near`, every logit lies within reach
of the positives, the hardest case; in `detector`, negatives lie about a prior of 0.01, so most are out of reach; in
`initial`, a search begins: the functions are the identity and the detector has learnt nothing, so that all logits lie
between the same two breakpoints. On a machine that others use as well, `--threads 1 --clock cpu` counts this process's
CPU time instead of the clock on the wall. Needs torch and numpy only. Prints a table and writes
benchmarks/results/loss-DEVICE.json.
"""

import json
import math
from typing import TypedDict

import torch
from torch import Tensor

from benchmarks.measurement import Options, Step, conditions, entries, focal, milliseconds, parse_options, peak_bytes
from benchmarks.published import CONTROL_POINTS, pairwise
from benchmarks.record import write_record
from paploss.losses import identity_control_points, parameterized_ap_loss

MODULES = ("entries", "generalised_ap", "pairwise_sums", "parameterized_ap", "piecewise")
BENCHMARKS = ("loss", "measurement", "published")
CODE = (*(f"benchmarks/{name}.py" for name in BENCHMARKS), *(f"paploss/losses/{name}.py" for name in MODULES))
"""What the figures depend on."""

INITIAL_DEVIATION = 0.01
"""Of the logits of a RetinaNet that has learnt nothing."""


def ours(logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor) -> Step:
    """Forward and backward of the loss, given the quality of the positives alone, as the trainer gives it."""
    own_quality = quality.detach()[targets == 1].requires_grad_()

    def step() -> None:
        logits.grad = own_quality.grad = None
        loss = parameterized_ap_loss(logits, own_quality, targets, control_points)
        loss.backward()  # type: ignore[no-untyped-call]

    return step


def inputs(kind: str, count: int, positives: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits, quality and targets, `[count]` each, and control points; `kind` as in the module's text."""
    if kind == "initial":
        logits, quality, targets = entries("near", count, positives, device)
        logits = (INITIAL_DEVIATION * logits.detach()).requires_grad_()
        return logits, quality, targets, identity_control_points().to(device)
    logits, quality, targets = entries(kind, count, positives, device)
    return logits, quality, targets, CONTROL_POINTS.to(device)


def float32_errors(device: torch.device) -> dict[str, float]:
    """Error of float32 input relative to float64 with the same values, maximum norm, at N = 1e6 and P = 1e3."""
    logits, quality, targets = entries("near", 10**6, 1000, device)
    outcomes = []
    for dtype in (torch.float32, torch.float64):
        s, u = (x.detach().to(dtype).requires_grad_() for x in (logits, quality))
        loss = parameterized_ap_loss(s, u, targets, CONTROL_POINTS.to(device))
        outcomes.append([x.double() for x in (loss.detach(), *torch.autograd.grad(loss, (s, u)))])
    names = ("value", "gradient to logits", "gradient to quality")
    return {n: float((a - b).abs().max() / b.abs().max()) for n, a, b in zip(names, *outcomes, strict=True)}


class Measured(TypedDict):
    """What goes into the record."""

    rows: list[dict[str, object]]
    """A time for each case and implementation."""
    float32_errors: dict[str, float]
    summary: list[dict[str, object]]
    """The figures that have a goal."""


def measure(options: Options) -> Measured:
    """All measurements."""
    device, repeats, clock = options.device, options.repeats, options.clock
    rows: list[dict[str, object]] = []

    def time_case(kind: str, count: int, positives: int, repeats: int, with_pairs: bool = False) -> dict[str, float]:
        logits, quality, targets, points = inputs(kind, count, positives, device)
        steps = {"ours": ours(logits, quality, targets, points), "focal": focal(logits, targets)}
        if with_pairs:
            steps["pairwise"] = pairwise(logits, quality, targets, points)
        taken = milliseconds(steps, repeats, device, clock)
        rows.append({"logits": kind, "N": count, "P": positives, **{f"{k}_ms": round(v, 3) for k, v in taken.items()}})
        print(json.dumps(rows[-1]), flush=True)
        return taken

    small = time_case("near", 10**5, 200, max(3, repeats // 3), with_pairs=True)
    by_kind = {
        kind: {count: time_case(kind, count, 1000, repeats) for count in (10**5, 10**6, 10**7)}
        for kind in ("near", "detector", "initial")
    }
    by_positives = {count: time_case("near", 10**6, count, repeats)["ours"] for count in (10, 100, 1000, 10**4)}

    arrays = {}
    for dtype in (torch.float32, torch.float64):
        logits, quality, targets = entries("near", 10**7, 1000, device, dtype)
        step = ours(logits, quality, targets, CONTROL_POINTS.to(device))
        arrays[str(dtype)] = round(peak_bytes(step, device) / (8 * 10**7), 2)
    errors = float32_errors(device)

    near = by_kind["near"]
    focal_goals = {10**6: 3.0, 10**7: 3.0} if device.type == "cuda" else {10**6: 8.0, 10**7: 2.0}
    goals = [("times faster than pairwise, N=1e5, P=200", small["pairwise"] / small["ours"], "at least", 200.0)]
    for kind, times in by_kind.items():
        for count, goal in focal_goals.items():
            ratio = times[count]["ours"] / times[count]["focal"]
            goals.append((f"times a lean focal loss, N={count:.0e}, P=1000, {kind}", ratio, "at most", goal))
    exponent = math.log(near[10**7]["ours"] / near[10**5]["ours"]) / math.log(100)
    goals += [
        ("exponent of N from 1e5 to 1e7", exponent, "at most", 1.1),
        ("time at P=1e4 over time at P=10, N=1e6", by_positives[10**4] / by_positives[10], "", math.nan),
        ("peak memory in float64 arrays of N, float32 input", arrays["torch.float32"], "below", 12.0),
        ("peak memory in float64 arrays of N, float64 input", arrays["torch.float64"], "below", 12.0),
        ("worst error of float32 input, N=1e6", max(errors.values()), "at most", 1e-6),
    ]
    return {
        "rows": rows,
        "float32_errors": errors,
        "summary": [
            {"what": what, "measured": float(f"{value:.3g}")} | ({"goal": f"{bound} {goal:g}"} if bound else {})
            for what, value, bound, goal in goals
        ],
    }


def main() -> None:
    """Measure, print and record."""
    options = parse_options(__doc__, repeats=11)
    measured = measure(options)
    for line in measured["summary"]:
        print(f"{line['what']:60s} {line['measured']:>10} {line.get('goal', '')}")
    write_record(f"loss-{options.device.type}", CODE, {**conditions(options), **measured})


if __name__ == "__main__":
    main()
