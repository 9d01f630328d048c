"""How fast, how big and how exact the Parameterized AP Loss is: `python -m benchmarks.loss [--device cuda]`.

Compares forward + backward with a plain pairwise implementation of the same formula and with a lean sigmoid focal
loss, in the same run and alternately, and takes medians. Two kinds of logits: in `near`, every entry lies within reach
of the positives, the hardest case; in `detector`, negatives lie about a prior of 0.01, so most are out of reach. On a
machine that others use as well, `--threads 1 --clock cpu` counts this process's CPU time instead of the clock on the
wall. Needs torch and numpy only. Prints a table and writes benchmarks/results/loss-DEVICE.json.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.record import write_record
from trainer.losses import parameterized_ap_loss

# Interior knots of the published RetinaNet functions H2, I2, I3, I1, H1.
PUBLISHED = [
    [0.4182, 0.0277, 0.4948, 0.2187, 0.6882, 0.2624, 0.8020, 0.6688],
    [0.1279, 0.3696, 0.3056, 0.4708, 0.5198, 0.5290, 0.6983, 0.6709],
    [0.0931, 0.0289, 0.3607, 0.5585, 0.4823, 0.7131, 0.6291, 0.8162],
    [0.4914, 0.1499, 0.5492, 0.1664, 0.6259, 0.3051, 0.7945, 0.6195],
    [0.4130, 0.0798, 0.4356, 0.3571, 0.5361, 0.7063, 0.8097, 0.9083],
]
CONTROL_POINTS = torch.tensor([[0, 0, *row, 1, 1] for row in PUBLISHED], dtype=torch.float64).view(5, 6, 2)

MODULES = ("entries", "generalised_ap", "pairwise_sums", "parameterized_ap", "piecewise")
CODE = ("benchmarks/loss.py", *(f"trainer/losses/{module}.py" for module in MODULES))
"""What the figures depend on."""

Step = Callable[[], object]


def entries(
    kind: str, count: int, positives: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Logits and quality, which require gradients, and targets, `[count]` each; a twentieth is ignored."""
    rng = np.random.default_rng(0)
    targets = np.zeros(count, dtype=np.int64)
    chosen = rng.permutation(count)
    targets[chosen[:positives]] = 1
    targets[chosen[positives : positives + count // 20]] = -1
    logits = rng.standard_normal(count) + np.where(targets == 1, 1.0, 0.0 if kind == "near" else -4.6)
    leaves = [torch.tensor(x, dtype=dtype, device=device, requires_grad=True) for x in (logits, rng.random(count))]
    return [*leaves, torch.tensor(targets, device=device)]


def ours(logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor) -> Step:
    """Forward and backward of the loss."""

    def step() -> None:
        logits.grad = quality.grad = None
        parameterized_ap_loss(logits, quality, targets, control_points).backward()

    return step


def focal(logits: Tensor, targets: Tensor) -> Step:
    """Forward and backward of a sigmoid focal loss (gamma 2, alpha 0.25) in as few operations as autograd allows."""

    def step() -> None:
        logits.grad = None
        is_positive = targets == 1
        wrong_way = torch.where(is_positive, -logits, logits)
        weight = torch.where(is_positive, 0.25, 0.75)
        (weight * torch.sigmoid(wrong_way).square() * torch.nn.functional.softplus(wrong_way)).sum().backward()

    return step


def pairwise(logits: Tensor, quality: Tensor, targets: Tensor, control_points: Tensor) -> Step:
    """Forward and backward of the same formula over all `[P, N]` pairs at once, by autograd."""

    def function(points: Tensor, u: Tensor) -> Tensor:
        x, y = points[:, 0].contiguous(), points[:, 1]
        k = torch.bucketize(u.detach(), x).clamp(1, len(x) - 1) - 1
        return y[k] + (u - x[k]) * ((y[1:] - y[:-1]) / (x[1:] - x[:-1]))[k]

    def step() -> None:
        logits.grad = quality.grad = None
        h2, i2, i3, i1, h1 = control_points.to(logits.dtype)
        is_positive, is_valid = targets == 1, targets >= 0
        u = torch.where(is_positive, quality, 0.0)
        z = ((logits[is_valid][None, :] - logits[is_positive][:, None]) / 2 + 0.5).clamp(0, 1)
        a = (function(h2, z) * (1 - function(i2, u[is_valid]))).sum(1)
        b = function(h1, z.detach()).sum(1).clamp_min(1e-6)
        u = u[is_positive]
        ((1 - function(i1, u) + function(i3, u) * a / b).sum() / (len(u) + 1e-8)).backward()

    return step


def milliseconds(
    steps: dict[str, Step], repeats: int, device: torch.device, clock: Callable[[], float]
) -> dict[str, float]:
    """Median time of each step, taken in turns so that other load on the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):  # the first is for warming up
        for name, step in steps.items():
            if device.type == "cuda":
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda.synchronize()
                start.record()
                step()
                end.record()
                end.synchronize()
                elapsed = start.elapsed_time(end)
            else:
                started = clock()
                step()
                elapsed = 1e3 * (clock() - started)
            if repeat:
                times[name].append(elapsed)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def peak_bytes(step: Step, device: torch.device) -> int:
    """Most memory beyond what was held before that a step needs (on Linux; what it leaves as gradients counts)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    def kilobytes(field: str) -> int:
        return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])

    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = kilobytes("VmRSS")
    step()
    return 1024 * (kilobytes("VmHWM") - before)


def float32_errors(device: torch.device) -> dict[str, float]:
    """Error of float32 input relative to float64 with the same values, maximum norm, at N = 1e6 and P = 1e3."""
    logits, quality, targets = entries("near", 10**6, 1000, device)
    outcomes = []
    for dtype in (torch.float32, torch.float64):
        s, u = (x.detach().to(dtype).requires_grad_() for x in (logits, quality))
        loss = parameterized_ap_loss(s, u, targets, CONTROL_POINTS.to(device))
        loss.backward()
        outcomes.append([x.double() for x in (loss.detach(), s.grad, u.grad)])
    names = ("value", "gradient to logits", "gradient to quality")
    return {n: float((a - b).abs().max() / b.abs().max()) for n, a, b in zip(names, *outcomes, strict=True)}


def measure(device: torch.device, repeats: int, clock: Callable[[], float]) -> dict[str, object]:
    """All measurements."""
    points = CONTROL_POINTS.to(device)
    rows: list[dict[str, object]] = []

    def time_case(kind: str, count: int, positives: int, repeats: int, with_pairs: bool = False) -> dict[str, float]:
        logits, quality, targets = entries(kind, count, positives, device)
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
        for kind in ("near", "detector")
    }
    by_positives = {count: time_case("near", 10**6, count, repeats)["ours"] for count in (10, 100, 1000, 10**4)}

    arrays = {}
    for dtype in (torch.float32, torch.float64):
        logits, quality, targets = entries("near", 10**7, 1000, device, dtype)
        arrays[str(dtype)] = round(peak_bytes(ours(logits, quality, targets, points), device) / (8 * 10**7), 2)
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"], help="ignored on a GPU (its own events)")
    parser.add_argument("--repeats", type=int, default=11, help="repeats of each measurement (default 11)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    on_gpu = device.type == "cuda"
    result = {
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "threads": arguments.threads,
        "clock": "cuda events" if on_gpu else arguments.clock,
        **measure(device, arguments.repeats, time.perf_counter if arguments.clock == "wall" else time.process_time),
    }
    for line in result["summary"]:
        print(f"{line['what']:60s} {line['measured']:>10} {line.get('goal', '')}")
    write_record(f"loss-{device.type}", CODE, result)


if __name__ == "__main__":
    main()
