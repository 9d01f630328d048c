"""Whole data sets are checked before anything is trained on them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from paploss.jobs.losses import FocalGIoU
from paploss.jobs.spec import DatasetSpec, JobSpec, Split
from paploss.trainer.datasets.findings import WARNING_LENGTH, Findings
from paploss.trainer.datasets.image_files import EXIF_ORIENTATION
from paploss.trainer.datasets.sources import check_job_data, read_job_data
from paploss.trainer.errors import UserError
from paploss.trainer.profiles import recipe_of
from paploss.trainer.profiles.smallest_object import visibility_of

COUNT, WIDTH, HEIGHT = 6, 96, 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images for training and two others for validation, each with a cat and a dog."""
    generator = np.random.default_rng(0)
    for part, count in (("train", COUNT), ("val", 2)):
        (tmp_path / part).mkdir()
        names = [f"{number}.png" for number in range(count)]
        for name in names:
            cv2.imwrite(str(tmp_path / part / name), generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        content = {
            "images": [
                {"id": one, "file_name": name, "width": WIDTH, "height": HEIGHT} for one, name in enumerate(names)
            ],
            "annotations": [
                {"id": 2 * one + label, "image_id": one, "category_id": label, "bbox": [9 + one, 8, 40, 35 + label]}
                for one in range(count)
                for label in (1, 2)
            ],
            "categories": [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}],
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    return tmp_path


def change(root: Path, part: str, edit) -> None:
    file = root / f"{part}.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def make_job(root: Path, reward="AP", **changes) -> JobSpec:
    parts = {part: Split(annotations=f"{part}.json", images=part) for part in ("train", "val")}
    dataset = DatasetSpec.model_validate({"name": "pets", "root": str(root), **parts, **changes})
    return JobSpec(trial_id="t", profile="retinanet-tiny", dataset=dataset, reward=reward, loss=FocalGIoU())


def check(root: Path, **changes) -> tuple[str, ...]:
    """The warnings of a job's check."""
    job = make_job(root, **changes)
    data = read_job_data(job, root)
    check_job_data(job, data, visibility_of(job.profile, recipe_of(job, data.train)), root / "cache")
    return data.findings.warnings()


def errors(root: Path, **changes) -> str:
    with pytest.raises(UserError) as caught:
        check(root, **changes)
    return str(caught.value)


def test_a_sound_data_set_has_no_findings(root):
    assert check(root) == ()


def test_every_unusable_image_of_every_split_is_named(root):
    (root / "train" / "1.png").write_bytes(b"")
    (root / "train" / "2.png").unlink()
    (root / "train" / "2.jpg").touch()
    (root / "val" / "1.png").write_bytes((root / "val" / "1.png").read_bytes()[:-30])
    reason = "cannot be read as an image: it is"
    train, val = root / "train", root / "val"
    assert errors(root).splitlines() == [
        f"2 images in {train} cannot be used",
        f"  {train / '1.png'}: {reason} empty",
        f"  {train / '2.png'}: {reason} not there ({train / '2.jpg'} is)",
        f"{val / '1.png'}: {reason} a damaged or cut off PNG, of which other programs may show a part: "
        "save it anew or leave it out",
    ]


@pytest.mark.parametrize("check_files", [True, False])
def test_a_reward_needs_objects_of_its_classes_and_sizes(root, check_files):
    assert check(root, reward={"worst_classes": 2}, check_files=check_files) == ()
    assert errors(root, reward={"class": "bird"}, check_files=check_files) == (
        f"{root / 'val.json'}: reward: there is no class 'bird'; expected one of dog, cat"
    )
    assert "reward: AP_small is undefined" in errors(root, reward="AP_small", check_files=check_files)


def test_images_are_not_read_where_the_data_set_says_so(root):
    (root / "train" / "1.png").write_bytes(b"")
    assert check(root, check_files=False) == ()


def test_only_the_first_twenty_of_many_are_named(root):
    def add(content) -> None:
        content["images"] += [
            {"id": 100 + one, "file_name": f"no{one}.png", "width": 9, "height": 9} for one in range(30)
        ]

    change(root, "train", add)
    text = errors(root)
    assert f"30 images in {root / 'train'} cannot be used" in text
    assert text.count("is not there") == 20
    assert "... and 10 more" in text


def test_sizes_that_differ_from_the_images_are_errors_with_both(root):
    change(root, "val", lambda content: content["images"][1].update(width=HEIGHT, height=WIDTH))
    assert "1.png: 64 x 96 px in the annotations, 96 x 64 px in the image" in errors(root)


def test_images_of_sixteen_bits_that_use_fewer_are_refused(root):
    for number in range(COUNT):
        cv2.imwrite(str(root / "train" / f"{number}.png"), np.full((HEIGHT, WIDTH), 4000 + number, np.uint16))
    text = errors(root)
    assert "6 images have 16 bits a channel and use 12 of them" in text
    assert "0.png: values up to 4000, which become 15 of 255" in text


def test_images_of_sixteen_bits_that_use_them_all_are_taken_and_dark_ones_warned_of(root):
    for number in range(COUNT):
        largest = 3000 if number == 2 else 65_000
        pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) % 100 + largest - 99 + number
        cv2.imwrite(str(root / "train" / f"{number}.png"), pixels)
    (warning,) = check(root)
    assert "1 image of 16 bits a channel is nearly black" in warning
    assert "2.png" in warning


def test_images_of_twelve_bits_are_refused_though_one_has_a_pixel_of_sixteen(root):
    for number in range(COUNT):
        pixels = np.full((HEIGHT, WIDTH), 4000 + number, np.uint16)
        pixels[0, 0] = 65_535 if number == 0 else 0
        cv2.imwrite(str(root / "train" / f"{number}.png"), pixels)
    assert "1.png: values up to 4001, which become 15 of 255" in errors(root)


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_images_whose_size_says_nothing_of_their_orientation_are_warned_of(root, orientation):
    side = WIDTH if orientation > 4 else HEIGHT  # of an oblong one of the others, the size would change
    tags = Image.Exif()
    tags[EXIF_ORIENTATION] = orientation
    pixels = np.random.default_rng(1).integers(0, 255, (side, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "val" / "0.png", exif=tags)
    change(root, "val", lambda content: content["images"][0].update(height=side))
    (warning,) = (one for one in check(root) if "EXIF" in one)
    assert "1 image is turned by their EXIF orientation" in warning
    assert "(0.png)" in warning


def test_the_same_image_twice_in_a_split_is_warned_of(root):
    (root / "train" / "1.png").write_bytes((root / "train" / "0.png").read_bytes())
    (warning,) = check(root)
    assert "1 image occurs twice under different names (1.png = 0.png)" in warning


def test_the_same_image_in_two_splits_is_warned_of_also_in_another_format(root):
    image = cv2.imread(str(root / "train" / "3.png"))
    cv2.imwrite(str(root / "val" / "0.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    assert (root / "val" / "0.png").read_bytes() != (root / "train" / "3.png").read_bytes()
    (warning,) = check(root)
    assert "1 image is in train.json too: AP on them means little (0.png = 3.png)" in warning


def test_a_split_may_list_fewer_categories_and_is_told_which(root):
    def leave_out_dogs(content) -> None:
        content["categories"] = [{"id": 1, "name": "cat"}]
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] == 1]

    change(root, "val", leave_out_dogs)
    text = "\n".join(check(root))
    assert "1 category of the training split is not listed (dog)" in text
    assert "1 class has no object here: AP is a mean over the others (dog)" in text
    data = read_job_data(make_job(root), root)
    assert data.test.classes == ("dog", "cat")
    assert next(data.test.samples())["instances"][0]["bbox_label"] == 1


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}], "category 1 is 'dog' here and 'cat' there"),
        (
            [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 9, "name": "cow"}],
            "category 9 'cow' is not among them",
        ),
        ([{"id": "1", "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}], "category '1' 'cat' is not"),
    ],
)
def test_categories_that_mean_something_else_are_errors_that_say_which(root, categories, message):
    def edit(content) -> None:
        content["categories"] = categories
        content["annotations"].append({"image_id": 0, "category_id": categories[-1]["id"], "bbox": [1, 1, 9, 9]})
        content["annotations"].append({"image_id": 0, "category_id": categories[0]["id"], "bbox": [1, 2, 9, 9]})

    change(root, "val", edit)
    assert message in errors(root)


def test_a_category_that_is_not_trained_and_has_no_object_is_warned_of(root):
    change(root, "val", lambda content: content["categories"].append({"id": 9, "name": "cow"}))
    (warning,) = check(root)
    assert "1 category without objects is not trained (cow)" in warning


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("crowd", [True, False])
def test_a_split_without_an_object_is_refused_with_the_reason(root, part, crowd):
    def edit(content) -> None:
        content["annotations"] = [{**one, "iscrowd": 1} for one in content["annotations"]] if crowd else []

    change(root, part, edit)
    count = 12 if part == "train" else 4
    reason = f": all {count} are crowds" if crowd else ", there is none"
    assert errors(root) == f"{root / part}.json: expected at least one object that is not a crowd{reason}"


def test_objects_too_small_for_the_profile_are_warned_of(root):
    change(root, "train", lambda content: [one.update(bbox=[5, 5, 9, 9]) for one in content["annotations"]])
    text = "\n".join(check(root))
    assert "12 of 12 objects are smaller than 32 px, the least that retinanet-tiny is made for, at its 64 px" in text


def test_warnings_are_bounded():
    findings = Findings()
    for number in range(60):
        findings.warning(f"{number}.json", "{count} things", "x" * 1000)
    warnings = findings.warnings()
    assert len(warnings) == 20
    assert max(map(len, warnings)) == WARNING_LENGTH
    assert warnings[-1] == "41 more warnings: paploss doctor"
