"""The losses that people use now, on two tiny detectors: `python -m benchmarks.todays_losses --data bccd=FOLDER`.

Protocol, written before the first of these trainings.

Ground      Blood cells, the test split. `retinanet-tiny` for 4 epochs, seeds 11 to 13, as in the recorded comparison
            (benchmarks/evidence.py); `deformable-detr-tiny` for 8 epochs, seeds 1 to 3, as in benchmarks/detr.py: rows
            of those tables and of these may be set side by side.
Losses      On RetinaNet Quality Focal, Varifocal and IoU-aware BCE Loss, each with GIoU. On Deformable DETR these
            three, MAL and the position-supervised loss, the last two with L1 and GIoU. Beside them, to be paired by
            seed, the loss that a detector is usually trained with (Focal + GIoU; Focal + L1 + GIoU) and AP Loss + L1;
            on RetinaNet what the recorded search has found too.
Rates       Each loss at the best of three rates, by a check on the validation split.
Judged      The mean over seeds, and the difference to the usual loss, paired, with the interval that holds for all
            pairs.

The trainings run through the platform; stopped at any point, the same command goes on where it was. What is known so
far is in benchmarks/results/todays-losses.json.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.platform import (
    connect,
    dataset_spec,
    make_parser,
    run_to_end,
)
from benchmarks.ranks import found_loss
from benchmarks.record import write_record
from paploss.client.loss_choice import choose_by_name
from paploss.client.specs import RATE_FACTORS, ComparisonSpec
from paploss.client.sync_client import Client
from paploss.jobs.spec import Overrides

CODE = ("controller", "paploss", "trainer", "worker")
DATASET = "bccd"
TODAYS = ("qfl_giou", "varifocal", "iou_bce")
"""By name, on both detectors."""


def main() -> None:
    """Run, or go on with, both comparisons."""
    parser = make_parser(__doc__, "todays-losses")
    given = parser.parse_args()
    folder = dict(given.data)[DATASET]
    with connect(given.state, given.workers, [folder]) as client:
        for spec in comparisons(folder):
            run_to_end(client, spec)
            record(client)


def comparisons(folder: Path) -> Iterator[ComparisonSpec]:
    """On Deformable DETR, then on RetinaNet; the first loss is the one that the detector is usually trained with."""
    own, own_detr = "focal_giou", "focal_l1_giou"
    for profile, epochs, seeds, losses in (
        ("deformable-detr-tiny", 8, (1, 2, 3), (own_detr, *TODAYS, "mal", "position_supervised", "ap_l1")),
        ("retinanet-tiny", 4, (11, 12, 13), (own, *TODAYS, "ap_l1", found_loss())),
    ):
        yield ComparisonSpec.model_validate(
            {
                "name": f"losses of today, {profile}",
                "profile": profile,
                "dataset": dataset_spec(DATASET, folder),
                "overrides": Overrides(epochs=epochs),
                "losses": losses,
                "reference": choose_by_name(losses[0]).label,
                "seeds": seeds,
                "learning_rates": RATE_FACTORS,
                "evaluate_split": "test",
            }
        )


def record(client: Client) -> None:
    """Write what has ended."""
    runs = [run for run in client.list_experiments("comparison") if run.state == "succeeded"]
    write_record(
        "todays-losses", CODE, {run.profile: client.comparison(run.id).model_dump(mode="json") for run in runs}
    )


if __name__ == "__main__":
    main()
