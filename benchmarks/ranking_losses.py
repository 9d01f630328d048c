"""How fast, how big and how exact all ranking losses are: `python -m benchmarks.ranking_losses [--device cuda]`.

Compares forward + backward of each loss with a plain implementation of what was published (a loop over the positives,
or all pairs; `published`), with the bucketed approximation (`bucketed`) and with a lean sigmoid focal loss, in the same
run and alternately, and takes medians. Logits are `near` or `detector` as in `benchmarks.loss`. What would take more
than a minute by what was measured on smaller inputs is left out. Errors are those of the gradient to the logits in the
maximum norm, float32 input against the exact loss of the same values in float64. On a machine that others use as well,
`--threads 1 --clock cpu` counts this process's CPU time instead of the clock on the wall. Needs torch and numpy only;
the plot is drawn where matplotlib is installed. Writes benchmarks/results/ranking-losses-DEVICE.json and .png.
"""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.bucketed import bucketed_ap, bucketed_rank_sort
from benchmarks.measurement import Options, Step, conditions, entries, focal, milliseconds, parse_options, peak_bytes
from benchmarks.published import CONTROL_POINTS, looped_alrp, looped_ap, looped_rank_sort, pairwise
from benchmarks.record import RESULTS, write_record
from paploss.losses import alrp_loss, ap_loss, parameterized_ap_loss, rank_sort_loss

COUNTS = (10**4, 10**5, 10**6, 10**7)
POSITIVES = (10, 100, 1000, 10**4)
LONGEST_SECONDS = 60.0
MOST_PAIRS_OF_POSITIVES = 10**8
"""The bucketed losses hold some |P| x |P| tables at once."""
PAIRS_AT_ONCE = 2**24
"""Bounds the memory of the pairwise Parameterized AP Loss, for which all pairs at once are too many here."""

CODE = ("benchmarks", "paploss/losses")
"""What the figures depend on."""


@dataclass(frozen=True)
class Batch:
    """Inputs of every loss."""

    logits: Tensor
    quality: Tensor
    targets: Tensor
    """1, 0 or -1, int64."""
    iou_targets: Tensor
    """Quality at positives, 0 or -1, of the logits' dtype."""
    errors: Tensor
    """Regression errors of the positives."""

    @classmethod
    def of(cls, kind: str, count: int, positives: int, device: torch.device) -> "Batch":
        """Random, float32."""
        logits, quality, targets = entries(kind, count, positives, device)
        iou_targets = torch.where(targets == 1, quality.detach().clamp_min(1e-3), targets.to(logits.dtype))
        return cls(logits, quality, targets, iou_targets, 1 - quality.detach()[targets == 1])

    def double(self) -> "Batch":
        """The same values in float64."""
        logits, quality = (x.detach().double().requires_grad_() for x in (self.logits, self.quality))
        return Batch(logits, quality, self.targets, self.iou_targets.double(), self.errors.double())


Method = Callable[[Batch], Tensor]
"""From a batch to the gradient to its logits."""


def _by_autograd(loss: Callable[[Batch], Tensor]) -> Method:
    def method(batch: Batch) -> Tensor:
        for leaf in (batch.logits, batch.quality):
            leaf.grad = None
        loss(batch).backward()  # type: ignore[no-untyped-call]
        assert batch.logits.grad is not None
        return batch.logits.grad

    return method


def _pairwise(batch: Batch) -> Tensor:
    pairwise(
        batch.logits, batch.quality, batch.targets, CONTROL_POINTS.to(batch.logits.device), pairs_at_once=PAIRS_AT_ONCE
    )()
    assert batch.logits.grad is not None
    return batch.logits.grad


def _without_graph(function: Callable[..., tuple[Tensor, Tensor]], *names: str) -> Method:
    """A function of the logits and of the batch's fields `names` that computes its gradient itself."""

    @torch.no_grad()
    def method(batch: Batch) -> Tensor:
        return function(batch.logits, *(getattr(batch, name) for name in names))[1]

    return method


OURS: dict[str, Method] = {
    "Parameterized AP": _by_autograd(
        lambda b: parameterized_ap_loss(b.logits, b.quality, b.targets, CONTROL_POINTS.to(b.logits.device))
    ),
    "AP": _by_autograd(lambda b: ap_loss(b.logits, b.targets)),
    "aLRP": _by_autograd(lambda b: alrp_loss(b.logits, b.targets, b.errors).classification),
    "Rank & Sort": _by_autograd(lambda b: sum(rank_sort_loss(b.logits, b.iou_targets), start=b.logits.new_zeros(()))),
}
PUBLISHED: dict[str, Method] = {
    "Parameterized AP": _pairwise,
    "AP": _without_graph(looped_ap, "targets"),
    "aLRP": _without_graph(looped_alrp, "targets", "errors"),
    "Rank & Sort": _without_graph(looped_rank_sort, "iou_targets"),
}
BUCKETED: dict[str, Method] = {
    "AP": _without_graph(bucketed_ap, "targets"),
    "Rank & Sort": _without_graph(bucketed_rank_sort, "iou_targets"),
}
FAMILIES = {"ours": OURS, "published": PUBLISHED, "bucketed": BUCKETED}

Row = dict[str, object]


def measure(options: Options) -> list[Row]:
    """A row for each kind of logits, N, P, loss and implementation."""
    rows: list[Row] = []
    seconds_per_pair: dict[str, float] = {}
    cases = [("near", n, p) for n in COUNTS for p in POSITIVES if p < n]
    cases += [("detector", n, 1000) for n in COUNTS]
    for kind, count, positives in cases:
        for row in _measure_case(kind, count, positives, options, seconds_per_pair):
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def _measure_case(
    kind: str, count: int, positives: int, options: Options, seconds_per_pair: dict[str, float]
) -> list[Row]:
    """Rows of one batch. `seconds_per_pair` is what slow implementations took at most so far; it is kept up to date."""
    batch, pairs = Batch.of(kind, count, positives, options.device), count * positives
    fast: dict[tuple[str, str], Step] = {("ours", loss): partial(method, batch) for loss, method in OURS.items()}
    fast |= {
        ("bucketed", loss): partial(method, batch)
        for loss, method in BUCKETED.items()
        if positives**2 <= MOST_PAIRS_OF_POSITIVES
    }
    fast[("focal", "focal")] = focal(batch.logits, batch.targets)
    taken = milliseconds(fast, options.repeats, options.device, options.clock)
    slow: dict[tuple[str, str], Step] = {}
    for loss, method in PUBLISHED.items():
        if seconds_per_pair.get(loss, 0.0) * pairs <= LONGEST_SECONDS:
            slow[("published", loss)] = partial(method, batch)
    for key, step in slow.items():
        taken |= milliseconds({key: step}, 1, options.device, options.clock, warm_up=False)
        seconds_per_pair[key[1]] = taken[key] / 1e3 / pairs

    truth = {loss: method(batch.double()) for loss, method in OURS.items()}
    rows: list[Row] = []
    for (family, loss), step in {**fast, **slow}.items():
        row: Row = {"logits": kind, "N": count, "P": positives, "loss": loss, "by": family}
        row |= {"ms": _rounded(taken[family, loss]), "peak_MB": _rounded(peak_bytes(step, options.device) / 1e6)}
        if loss in truth:
            gradient = FAMILIES[family][loss](batch)
            row["error"] = _rounded(float((gradient - truth[loss]).abs().max() / truth[loss].abs().max()), digits=2)
        rows.append(row)
    return rows


def _rounded(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def disagreement_in_float64(device: torch.device) -> dict[str, float]:
    """Of the gradients of each loss and what was published, both in float64, N = 1e4, P = 1e3."""
    batch = Batch.of("near", 10**4, 1000, device).double()
    differences = {}
    for loss, method in OURS.items():
        ours, theirs = method(batch).clone(), PUBLISHED[loss](batch)
        differences[loss] = _rounded(float((ours - theirs).abs().max() / theirs.abs().max()), digits=2)
    return differences


def summarise(rows: list[Row], disagreement: dict[str, float], on_gpu: bool) -> list[dict[str, object]]:
    """The figures that have a goal."""
    taken = {(r["logits"], r["N"], r["P"], r["loss"], r["by"]): float(str(r["ms"])) for r in rows}
    goals: list[tuple[str, float, str, float]] = []
    for kind in ("near", "detector"):
        for count, goal in ((10**6, 3.0 if on_gpu else 8.0), (10**7, 3.0 if on_gpu else 2.0)):
            for loss in OURS:
                ratio = taken[kind, count, 1000, loss, "ours"] / taken[kind, count, 1000, "focal", "focal"]
                goals.append((f"{loss}: times focal loss, N={count:.0e}, P=1000, {kind}", ratio, "at most", goal))
    for positives, goal in ((1000, 20.0), (10**4, 100.0)):
        for loss in OURS:
            slow = taken.get(("near", 10**5, positives, loss, "published"))
            if slow is not None:
                ratio = slow / taken["near", 10**5, positives, loss, "ours"]
                goals.append((f"{loss}: times faster than published, N=1e5, P={positives}", ratio, "at least", goal))
    for count in (10**6, 10**7):
        for loss in BUCKETED:
            ratio = taken["near", count, 1000, loss, "ours"] / taken["near", count, 1000, loss, "bucketed"]
            goals.append((f"{loss}: time over bucketed, N={count:.0e}, P=1000, near", ratio, "at most", 1.0))
    for loss, difference in disagreement.items():
        goals.append((f"{loss}: difference from published, both float64", difference, "at most", 1e-9))
    worst = max(float(str(r["error"])) for r in rows if r["by"] == "ours")
    goals.append(("worst error of float32 input", worst, "at most", 1e-6))
    return [{"what": w, "measured": _rounded(value, 3), "goal": f"{b} {g:g}"} for w, value, b, g in goals]


def main() -> None:
    """Measure, print and record."""
    options = parse_options(__doc__, repeats=5)
    rows = measure(options)
    disagreement = disagreement_in_float64(options.device)
    summary = summarise(rows, disagreement, on_gpu=options.device.type == "cuda")
    for line in summary:
        print(f"{line['what']:60s} {line['measured']:>10} {line['goal']}")
    name = f"ranking-losses-{options.device.type}"
    write_record(name, CODE, {**conditions(options), "summary": summary, "rows": rows})
    if importlib.util.find_spec("matplotlib"):
        from benchmarks.ranking_losses_plot import draw  # noqa: PLC0415 (optional, and slow to load)

        draw(rows, RESULTS / f"{name}.png")


if __name__ == "__main__":
    main()
