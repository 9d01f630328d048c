"""Files that people write: faults are told with the file and the key."""

import gzip
import json
from pathlib import Path

import pytest

from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.specifications import find_data_roots, read_comparison, read_search, read_training
from paploss.jobs.presets import PRESETS, identity

EXAMPLES = Path(__file__).parents[3] / "examples"
DUMPS = Path(__file__).parents[2] / "fixtures" / "0.1.0"
SEARCHES = sorted(file for file in EXAMPLES.glob("*.yaml") if not file.stem.startswith("compare-"))
OPTIONS = {"profile": None, "data_root": None, "epochs": None, "gpus": None, "schedule": "final"}


@pytest.fixture
def write(tmp_path):
    def create(text: str, name: str = "spec.yaml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return create


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(CommandError) as caught:
        function(*arguments, **options)
    assert caught.value.status == BAD_INPUT
    return str(caught.value)


@pytest.mark.parametrize("file", SEARCHES, ids=lambda file: file.stem)
def test_every_example_is_a_specification(file):
    assert read_search(file).name == file.stem


def test_a_specification_is_read_with_its_defaults(write):
    spec = read_search(write("profile: synthetic\nrounds: 3\n"))
    assert (spec.profile, spec.rounds, spec.trials_per_round) == ("synthetic", 3, 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("profile: synthetic\nround: 3\n", "round: unknown key; did you mean 'rounds'?"),
        ("profile: synthetic\nconfirm: {seed: 1}\n", "confirm.seed: unknown key; did you mean 'seeds'?"),
        ("profile: synthetic\nrounds: many\n", "rounds: expected a whole number, got 'many'"),
        ("profile: yolo\n", "profile: expected one of"),
        ("rounds: 3\n", "profile: is missing"),
        ("- a list\n", "expected keys with values, got list"),
        ("rounds: [3\n", "not valid YAML"),
        ("profile: synthetic\nrounds: 3\nrounds: 4\n", "not valid YAML: the key 'rounds' is there twice"),
        ("profile: synthetic\noverrides: {epochs: 4, epochs: 5}\n", "the key 'epochs' is there twice"),
        ("", "expected keys with values, got NoneType"),
    ],
)
def test_faults_name_the_file_and_the_key(write, text, expected):
    file = write(text)
    message = refusal(read_search, file)
    assert message.startswith(f"{file}: ")
    assert expected in message


def test_every_fault_is_told_at_once(write):
    text = """
profile: retinanet-tyny
round: 3
seed: -1
mode: steam
algorithm: {name: ppo, clop: 1}
dataset: {train: {images: ..}}
"""
    lines = refusal(read_search, write(text)).splitlines()
    for said in (
        "did you mean 'retinanet-tiny'?",
        "round: unknown key; did you mean 'rounds'?",
        "seed: expected 0 or more, got -1",
        "mode: expected one of 'round', 'stream', got 'steam'; did you mean 'stream'?",
        "algorithm.ppo.clop: unknown key; did you mean 'clip'?",
        "dataset.train.images: expected a path inside the root, got '..'",
    ):
        assert any(said in line for line in lines), said


def test_a_missing_file_is_named(tmp_path):
    assert refusal(read_search, tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: No such file or directory"


DATASET = """
profile: retinanet-tiny
dataset:
  name: cells
  root: data
  train: {annotations: train.json, images: images}
  val: {annotations: val.json, images: images}
"""


def test_a_relative_root_is_meant_from_the_files_own_folder(write, tmp_path):
    assert read_search(write(DATASET)).dataset.root == str(tmp_path / "data")


def test_the_data_root_can_be_given_beside_the_file(write, tmp_path):
    spec = read_search(write(DATASET), tmp_path / "elsewhere")
    assert spec.dataset.root == str(tmp_path / "elsewhere")
    assert find_data_roots(spec) == [tmp_path / "elsewhere"]


def test_weights_need_their_folder_as_a_data_root(write, tmp_path):
    spec = read_search(write("profile: retinanet-tiny\nweights: weights/r18.pth\n"))
    assert find_data_roots(spec) == [tmp_path / "weights"]


def test_a_named_loss_needs_a_profile_alone():
    training = read_training("retinanet", None, **OPTIONS | {"profile": "retinanet-tiny"})
    assert training.loss == PRESETS["retinanet"]
    assert training.dataset.name == "digits"
    assert read_training("identity", None, **OPTIONS | {"profile": "synthetic"}).loss == identity(["bbox_head"])
    assert read_training("focal_l1", None, **OPTIONS | {"profile": "synthetic"}).loss.name == "focal_l1"


def test_an_exported_loss_brings_its_profile_and_data_but_not_its_proxys_epochs(write):
    exported = {
        "loss": PRESETS["retinanet"].model_dump(mode="json"),
        "profile": "retinanet-tiny",
        "dataset": {"name": "digits"},
        "weights": None,
        "overrides": {"epochs": 2, "image_size_px": 96},
    }
    file = str(write(json.dumps(exported), "found.json"))
    final = read_training(file, None, **OPTIONS)
    assert (final.profile, final.loss) == ("retinanet-tiny", PRESETS["retinanet"])
    assert (final.overrides.epochs, final.overrides.image_size_px) == (None, 96)
    assert read_training(file, None, **OPTIONS | {"epochs": 9}).overrides.epochs == 9
    assert read_training(file, None, **OPTIONS | {"schedule": "proxy"}).overrides.epochs == 2


def test_an_exported_loss_brings_the_learning_rate_that_it_was_found_with(write):
    exported = {"loss": PRESETS["retinanet"].model_dump(), "learning_rate_factor": 2.5, "profile": "retinanet-tiny"}
    file = write(json.dumps(exported), "found.json")
    assert read_training(str(file), None, **OPTIONS).learning_rate_factor == 2.5
    compared = read_comparison(write("profile: retinanet-tiny\nlosses: [{file: found.json}, published]\n"))
    assert [choice.learning_rate_factor for choice in compared.losses] == [2.5, None]


def test_a_loss_written_by_hand_is_read_with_the_profile_of_another_file(write):
    loss = write(json.dumps(identity(["bbox_head"]).model_dump(mode="json")), "mine.json")
    training = read_training(str(loss), write("profile: retinanet-tiny\n"), **OPTIONS)
    assert training.loss == identity(["bbox_head"])


def test_a_fault_in_a_loss_file_names_the_row(write):
    loss = identity(["bbox_head"]).model_dump(mode="json")
    loss["heads"]["bbox_head"]["control_points"][1][2] = [0.9, 0.1]
    file = str(write(json.dumps(loss), "bad.json"))
    message = refusal(read_training, file, None, **OPTIONS | {"profile": "retinanet-tiny"})
    assert message.startswith(file)
    assert "control_points[I2]: not monotone" in message


@pytest.mark.parametrize(
    ("loss", "profile", "expected"),
    [
        ("nothing", "synthetic", "nothing: neither a file nor one of published"),
        ("retinanet", None, "--profile: expected one"),
        ("retinanet", "yolo", "--profile: expected one of"),
        ("faster-rcnn", "retinanet-tiny", "loss.heads: expected bbox_head for the profile 'retinanet-tiny'"),
    ],
)
def test_what_cannot_be_trained_is_refused(loss, profile, expected):
    assert expected in refusal(read_training, loss, None, **OPTIONS | {"profile": profile})


def test_a_search_starts_from_files_of_searches_and_losses(write, tmp_path):
    dump = DUMPS / "finished-search.jsonl.gz"
    loss = write(json.dumps({"loss": PRESETS["retinanet"].model_dump(mode="json"), "ap": {}}), "found.json")
    text = f"profile: synthetic\nstart_from: [published, {{file: '{dump}'}}, {{file: found.json}}]\n"
    spec = read_search(write(text))
    assert [start.preset for start in spec.starts] == ["published", None, None]
    assert spec.starts[1].earlier.trials
    assert spec.starts[2].loss == PRESETS["retinanet"]
    named = read_search(write("profile: synthetic\n"), start_from=["0abc", str(loss)])
    assert [(start.search, start.loss is None) for start in named.starts] == [("0abc", True), (None, False)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (gzip.compress(b'{"paploss": "other"}', mtime=0), "expected what `paploss dump` writes"),
        (gzip.compress(b"nonsense", mtime=0), "cannot be read"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (b"[1]", "expected what `paploss dump` or `paploss export` writes"),
    ],
)
def test_a_file_that_is_no_start_is_refused_by_name(write, tmp_path, content, expected):
    (tmp_path / "earlier").write_bytes(content)
    message = refusal(read_search, write("profile: synthetic\nstart_from: [{file: earlier}]\n"))
    assert message.startswith(f"{tmp_path / 'earlier'}: ")
    assert expected in message
