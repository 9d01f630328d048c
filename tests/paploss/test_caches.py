"""Where a cache can be had: as the XDG standard says, and anywhere else where that fails."""

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from paploss.caches import find_cache_folder, provide_home


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_the_standards_folder_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert find_cache_folder() == tmp_path / "home" / ".cache" / "paploss"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored
    assert find_cache_folder() == tmp_path / "home" / ".cache" / "paploss"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert find_cache_folder() == tmp_path / "cache" / "paploss"


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME"])
def test_another_folder_is_used_and_said_where_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    monkeypatch.setenv(variable, "/dev/null")
    with caplog.at_level(logging.WARNING):
        folder = find_cache_folder()
    assert folder == tmp_path / f"paploss-{os.getuid()}"
    assert "/dev/null" in caplog.text
    assert f"using {folder}" in caplog.text
    assert find_cache_folder() == folder


def test_a_folder_of_somebody_else_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    (tmp_path / f"paploss-{os.getuid()}").symlink_to(tmp_path)
    folder = find_cache_folder()
    assert folder.parent == tmp_path
    assert not folder.is_symlink()


@pytest.mark.parametrize("home", [None, "/dev/null"])
def test_libraries_find_a_home_where_this_user_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    monkeypatch.setenv("USER", "me")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    monkeypatch.setenv("HOME", home or "")
    if home is None:
        monkeypatch.delenv("HOME")
    provide_home()
    assert Path.home() == Path(os.environ["XDG_CACHE_HOME"]) == tmp_path / f"paploss-{os.getuid()}"
    assert os.environ["USER"] == "me"


def test_commands_work_for_a_user_without_a_home_and_an_entry(tmp_path: Path) -> None:
    nobody = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
    if subprocess.run([*nobody, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine makes no user namespaces")
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    for module in ("paploss.cli", "paploss.trainer"):
        done = subprocess.run(
            [*nobody, sys.executable, "-m", module, "--help"],
            capture_output=True,
            text=True,
            check=False,
            env=environment | {"TMPDIR": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
