"""Files that are whole or not at all, and read as what they are."""

import os
import stat
from pathlib import Path

import pytest

from paploss.files import PRIVATE, read_regular, whole_file, write_whole


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "old")
    write_whole(tmp_path / "a", "Größe ±")
    assert (tmp_path / "a").read_bytes() == "Größe ±".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_fails_on_the_way_leaves_the_old_content(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"old")

    def fail_half_way() -> None:
        with whole_file(tmp_path / "a") as file:
            file.write(b"half of the ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_private_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    write_whole(tmp_path / "key", "secret", PRIVATE)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "a")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "a").read_text() == "new"


def test_a_long_name_is_possible(tmp_path: Path) -> None:
    write_whole(tmp_path / ("a" * 250), "x")


def test_a_file_is_read_and_neither_waited_for_nor_read_without_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link") == b"x"
    os.mkfifo(tmp_path / "pipe")  # that nobody writes to
    for target in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(target)
        with pytest.raises(OSError, match=r"it is no file|Is a directory"):
            read_regular(tmp_path / "link")
