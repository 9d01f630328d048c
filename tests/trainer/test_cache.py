from pathlib import Path

import pytest

from paploss.trainer.cache import find_cache, temporary_folder


def test_the_standard_variable_goes_before_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert find_cache() == tmp_path / ".cache" / "paploss"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert find_cache() == tmp_path / "other" / "paploss"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert find_cache() == tmp_path / ".cache" / "paploss"


@pytest.mark.parametrize("home", ["/dev/null", None])
def test_without_a_home_there_is_no_cache_and_it_is_said(monkeypatch, caplog, home):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.setattr(Path, "home", no_home)
    else:
        monkeypatch.setenv("HOME", home)
    assert find_cache() is None
    assert "no cache, images are read again each time" in caplog.text


def test_a_temporary_folder_is_there():
    assert temporary_folder().is_dir()
