"""`paploss compare` against a controller whose worker is played."""

import io
import json
from pathlib import Path

import pytest
from controllers import PlayedWorker, RunningController
from stack import wait_until
from typer.testing import CliRunner, Result

from paploss.cli.comparison_plot import plot_comparison
from paploss.cli.failures import BAD_INPUT, FAILED
from paploss.cli.main import app
from paploss.cli.specifications import read_comparison
from paploss.cli.tables import comparison_table, rate_table
from paploss.cli.terminal import make_console
from paploss.client.comparison import Comparison, RateResult, find_axis
from paploss.client.sync_client import Client
from paploss.controller.experiments.comparison import Measured, compare
from paploss.jobs.losses import ALRP, CEL1, CSEAutoLossA, ParameterizedAP
from paploss.jobs.presets import PRESETS, identity

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("compare-*.yaml"))
CHECK = (RateResult(factor=0.5, ap=0.1), RateResult(factor=1, ap=None))
LOSSES = (
    Measured("CE [mine]", CEL1(), {1: 0.2, 2: 0.22}, learning_rate_factor=0.5, rate_check=CHECK),
    Measured("aLRP", ALRP(), {1: 0.3}),
    Measured("A", CSEAutoLossA(), failed=[1, 2]),
)
MINE = identity(("bbox_head",), knots=2)
SPEC = """
profile: synthetic
losses: [published, {label: mine, file: loss.json}]
seeds: [1, 2]
learning_rates: [1]
"""


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    (tmp_path / "loss.json").write_text(MINE.model_dump_json())
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


def report(profile: str = "faster-rcnn-tiny") -> Comparison:
    return Comparison(
        profile=profile,
        dataset="cells",
        split="test",
        schedule="final",
        seeds=(1, 2),
        reference="CE [mine]",
        rows=compare(LOSSES, "CE [mine]", profile),
    )


def test_every_example_is_a_comparison_of_losses_that_fit() -> None:
    assert len(EXAMPLES) >= 2
    for file in EXAMPLES:
        assert read_comparison(file).kind == "comparison"


def test_the_example_of_box_terms_adds_nothing_else_to_the_published_parameters() -> None:
    (file,) = (file for file in EXAMPLES if "box-terms" in file.stem)
    published = PRESETS["retinanet"].heads["bbox_head"]
    added = {"published + L1": {"l1_weight": 1}, "published + GIoU": {"giou_weight": 1}}
    found = {choice.label: choice.loss for choice in read_comparison(file).losses if choice.label in added}
    assert found == {
        label: ParameterizedAP(heads={"bbox_head": published.model_copy(update=terms)})
        for label, terms in added.items()
    }


def test_a_loss_may_come_from_a_file_beside_the_specification(spec_file: Path) -> None:
    _, mine = read_comparison(spec_file).losses
    assert (mine.label, mine.loss) == ("mine", MINE)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("profile: retinanet-tiny\nlosses: [focal]", "losses.0: expected one of published"),
        ("profile: retinanet-tiny\nlosses: [ce_l1]", "losses[CE + L1].loss.name: expected one of"),
        ("profile: retinanet-tiny\nlosses: [{file: none.json}]", "none.json: No such file"),
        ("profile: retinanet-tiny\nlosses: [{file: loss.json}, alrp, alrp]", "distinct labels"),
        ("profile: retinanet-tiny\nkind: final", "kind: expected one of 'comparison'"),
        ("profile: retinanet-tiny\nseed: 1", "seed: unknown key"),
    ],
)
def test_a_mistake_names_the_file_and_the_key_and_starts_nothing(spec_file: Path, text: str, told: str) -> None:
    spec_file.write_text(text)
    state = spec_file.parent / "state"
    result = CliRunner().invoke(app, ["compare", str(spec_file), "--state", str(state)])
    assert result.exit_code == BAD_INPUT
    assert str(spec_file.parent) in result.stderr
    assert told in result.stderr
    assert not state.exists()


def test_a_comparison_is_started_once_and_shown_as_often_as_it_is_asked_for(
    controller: RunningController, client: Client, worker: PlayedWorker, spec_file: Path, tmp_path: Path
) -> None:
    def command(*options: str) -> Result:
        there = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["user"]}
        result = CliRunner().invoke(
            app, ["compare", str(spec_file), "--out", str(tmp_path / "out"), *options], env=there
        )
        assert result.exit_code == 0, result.output
        return result

    training_id = command("--detach").output.strip()
    client.pause(training_id)
    assert json.loads(command("--detach", "--json").output) == {"id": training_id}
    assert client.get_experiment(training_id).state == "running"
    for kind in ("rate_check", "compare"):
        for trial in wait_until(lambda kind=kind: list(client.trials(training_id, kind=kind)), kind):
            worker.run(trial.id)

    shown = command()
    assert "6/6 mine, seed 2" in shown.output
    assert "learning-rate check" in shown.output
    content = json.loads(command("--json").stdout)
    assert content["training"] == training_id
    assert [row["label"] for row in content["comparison"]["rows"]] == ["Parameterized AP, published", "mine"]
    assert "root" not in content["spec"]["dataset"]  # what the file holds is true on any machine
    files = {file.name: file for file in (tmp_path / "out").iterdir()}
    assert set(files) == {f"compare-synthetic.{suffix}" for suffix in ("json", "csv", "png")}
    assert json.loads(files["compare-synthetic.json"].read_text()) == content
    assert len(files["compare-synthetic.csv"].read_text().splitlines()) == 3


def test_a_comparison_that_was_cancelled_is_not_taken_up_again(
    controller: RunningController, client: Client, spec_file: Path
) -> None:
    there = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["user"]}
    first, second = (
        client.cancel(CliRunner().invoke(app, ["compare", str(spec_file), "--detach"], env=there).output.strip()).id
        for _ in range(2)
    )
    assert first != second


def test_detaching_needs_a_platform_that_stays(spec_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["compare", str(spec_file), "--detach", "--state", str(tmp_path / "state")])
    assert result.exit_code == FAILED
    assert "--detach: expected a running platform" in result.stderr


def test_the_tables_show_what_was_measured_and_nothing_else() -> None:
    shown = io.StringIO()
    console = make_console(width=120, file=shown)
    console.print(comparison_table(report()))
    console.print(rate_table(report()))
    lines = [" ".join(line.split()) for line in shown.getvalue().splitlines()]
    assert lines == [
        "loss AP ± sd, test seeds difference (95 %) rate COCO AP",
        "CE [mine] 21.0 ± 1.4 2/2 reference x 0.5 39.0",
        "aLRP 30.0 1/2 +10.0 (one seed) 40.7",
        "A – 0/2 – 40.4",
        "AutoLoss-Zero – – 39.3",
        "learning-rate check, AP on val x 0.5 x 1 chosen",
        "CE [mine] 10.0 – x 0.5",
    ]


@pytest.mark.parametrize("profile", ["faster-rcnn-tiny", "synthetic"])
def test_a_plot_is_drawn_of_rows_with_and_without_results(tmp_path: Path, profile: str) -> None:
    plot_comparison(report(profile), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_one_wide_interval_does_not_stretch_the_axis() -> None:
    aps = {"close": {1: 0.5, 2: 0.52}, "apart": {1: 0.0, 2: 0.34}}
    measured = [Measured(label, ALRP(), rewards) for label, rewards in aps.items()]
    both = report().model_copy(update={"rows": compare(measured, "close", "retinanet-tiny")[:2]})
    interval = both.rows[1].interval
    assert interval is not None
    assert interval[0] < -1 < 1 < interval[1]
    low, high = find_axis(both)
    assert -3 < low < 0
    assert 52 < high < 70
    nothing = both.model_copy(update={"rows": ()})
    assert find_axis(nothing) == (0, 100)
