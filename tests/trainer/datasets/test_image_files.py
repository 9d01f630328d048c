"""What is known of image files, and that it is what trainings see."""

import io
import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from paploss.trainer.datasets import image_files
from paploss.trainer.datasets.image_files import find_similar, read_image, read_images
from paploss.trainer.datasets.loading import build_pipeline, load_image
from paploss.trainer.errors import MachineError, UserError
from paploss.trainer.profiles.pipelines import test_images as packed_images

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 255, (8, 16, 3), dtype=np.uint8), (64, 32))


def encode(format_name: str, image: Image.Image | None = None, **options) -> bytes:
    output = io.BytesIO()
    (image or Image.fromarray(PICTURE)).save(output, format_name, **options)
    return output.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[image_files.EXIF_ORIENTATION] = orientation
    return tags


def in_training(file: Path, width: int, height: int):
    """The image as the test pipeline loads it."""
    sample = {"img_path": str(file), "img_id": 1, "width": width, "height": height, "instances": []}
    return load_image(build_pipeline(packed_images()), sample)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_those_after_the_exif_orientation_as_trainings_see_them(tmp_path, format_name, orientation):
    file = tmp_path / "image"
    file.write_bytes(encode(format_name, exif=exif(orientation)))
    facts = read_image(file)
    size = (32, 64) if orientation > 4 else (64, 32)
    assert (facts.width, facts.height, facts.orientation) == (*size, orientation)
    assert in_training(file, *size)["inputs"].shape[1:] == (size[1], size[0])
    with pytest.raises(UserError, match="10 x 20 px in the annotations"):
        in_training(file, 10, 20)


JPEG, PNG = encode("JPEG", quality=90), encode("PNG")
BROKEN = {
    "no bytes": (b"", "it is empty"),
    "text": (b"hello", "it is not an image"),
    "JPEG without its last byte": (JPEG[:-1], "it is a damaged or cut off JPEG"),
    "JPEG without its last twenty bytes": (JPEG[:-20], "it is a damaged or cut off JPEG"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "it is a damaged or cut off JPEG"),
    "progressive JPEG, cut off": (encode("JPEG", progressive=True)[:-40], "it is a damaged or cut off JPEG"),
    "PNG without its end": (PNG[:-20], "it is a damaged or cut off PNG"),
    "GIF without its end": (encode("GIF")[:-30], "it is a damaged or cut off GIF"),
    "zeros": (b"\0" * 5000, "it is not an image"),
    "float TIFF": (
        cv2.imencode(".tiff", PICTURE[..., 0].astype(np.float32))[1].tobytes(),
        "it is a TIFF of mode F that OpenCV cannot read",
    ),
    "HEIC": (b"\0\0\0\x18ftypheic" + b"\0" * 100, "it is HEIC, which OpenCV does not read"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "it is a Git LFS pointer"),
    "an error page": (b"<!DOCTYPE html><html></html>", "it is a document"),
}


def test_a_disk_that_gives_errors_is_not_the_images_fault(tmp_path):
    (tmp_path / "a.jpg").symlink_to("/proc/self/mem")  # a regular file whose reading is an input/output error
    with pytest.raises(MachineError, match=r"a\.jpg: cannot be read: Input/output error"):
        read_images(tmp_path, ["a.jpg"], None)


@pytest.mark.parametrize("kind", BROKEN)
def test_what_trainings_cannot_read_is_told(tmp_path, kind):
    content, problem = BROKEN[kind]
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    assert read_image(file).problem.startswith(problem)
    with pytest.raises(UserError, match=r"a\.jpg: cannot be read as an image"):
        in_training(file, 64, 32)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "CMYK"])
def test_kinds_of_pixels_that_trainings_can_read(tmp_path, mode):
    file = tmp_path / "image"
    file.write_bytes(encode("JPEG" if mode == "CMYK" else "PNG", Image.fromarray(PICTURE).convert(mode)))
    facts = read_image(file)
    assert (facts.problem, facts.mode, facts.has_alpha) == ("", mode, mode in ("RGBA", "LA"))
    assert in_training(file, 64, 32)["inputs"].shape == (3, 32, 64)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_the_depth_of_sixteen_bit_images_is_known(tmp_path, suffix):
    values = PICTURE[..., 0].astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / f"a{suffix}"), values)
    assert read_image(tmp_path / f"a{suffix}").largest == values.max()
    cv2.imwrite(str(tmp_path / "b.png"), np.dstack([values] * 3))
    assert read_image(tmp_path / "b.png").largest == values.max()
    cv2.imwrite(str(tmp_path / "c.png"), PICTURE)
    assert read_image(tmp_path / "c.png").largest == 0


def test_several_pictures_in_one_file_are_seen_but_not_those_of_phones(tmp_path):
    frames = [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    for format_name in ("GIF", "MPO"):
        (tmp_path / format_name).write_bytes(encode(format_name, frames[0], save_all=True, append_images=frames[1:]))
    assert read_image(tmp_path / "GIF").animated
    assert not read_image(tmp_path / "MPO").animated


def test_files_that_are_not_there_and_folders_are_told(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    facts = read_images(tmp_path, ["none.jpg", "folder.jpg", "link.jpg", "folder.jpg/a.jpg", "a" * 300], None)
    problems = [one.problem for one in facts]
    assert problems[:4] == ["it is not there", "it is no file", "it is not there", "it is not there"]
    assert problems[4].startswith("File name too long")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_told(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    read_images(tmp_path, ["a.png"], tmp_path / "cache")
    file.chmod(0)
    assert read_images(tmp_path, ["a.png"], tmp_path / "cache")[0].problem == "Permission denied"


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    reads: list[str] = []
    original = image_files.read_image
    monkeypatch.setattr(image_files, "read_image", lambda file: reads.append(file.name) or original(file))
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(PNG)
    cache = tmp_path / "cache"
    first = read_images(tmp_path, ["a.png", "b.png"], cache)
    assert read_images(tmp_path, ["b.png", "a.png"], cache) == first
    assert sorted(reads) == ["a.png", "b.png"]
    (tmp_path / "b.png").write_bytes(PNG[:-20])
    assert read_images(tmp_path, ["a.png", "b.png"], cache)[1].problem
    assert reads[2:] == ["b.png"]
    assert read_images(tmp_path, ["a.png"], None) == first[:1]
    assert reads[3:] == ["a.png"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": "0", "files": []}', b'{"version": null}'])
def test_a_cache_that_cannot_be_used_is_made_anew(tmp_path, content):
    (tmp_path / "a.png").write_bytes(PNG)
    expected = read_images(tmp_path, ["a.png"], tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "images").iterdir()
    file.write_bytes(content)
    assert read_images(tmp_path, ["a.png"], tmp_path / "cache") == expected
    assert b"a.png" in file.read_bytes()


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "cache").write_text("a file")
    assert read_images(tmp_path, ["a.png"], tmp_path / "cache")[0].width == 64
    assert "is not kept" in caplog.text


def test_reading_can_be_left_and_what_was_read_is_kept(tmp_path):
    names = [f"{number}.png" for number in range(5)]
    for name in names:
        (tmp_path / name).write_bytes(PNG)

    def leave() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_images(tmp_path, names, tmp_path / "cache", leave)
    assert list((tmp_path / "cache" / "images").iterdir())


def test_a_file_that_may_be_meant_is_found(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "A.JPG").touch()
    (tmp_path / "b.png").touch()
    (tmp_path / "c.json").touch()
    found = [find_similar(tmp_path / "images" / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert found == [tmp_path / "A.JPG", tmp_path / "b.png", None]


def test_reading_an_image_keeps_no_second_copy_of_its_pixels(tmp_path):
    file = tmp_path / "large.png"
    cv2.imwrite(str(file), np.zeros((2000, 2000, 3), dtype=np.uint8))
    read_image(file)  # what is loaded once
    tracemalloc.start()
    try:
        assert read_image(file).width == 2000
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 2000 * 2000 * 3
    finally:
        tracemalloc.stop()
