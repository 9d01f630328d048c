"""The set-up names what a machine lacks before anything slow begins. That it works, every clean checkout shows."""

import subprocess
import sys
from pathlib import Path

import pytest
from charts import ROOT


@pytest.fixture
def bare_machine(tmp_path: Path) -> Path:
    """A folder of programs: an interpreter, and what scripts need; no compiler, no nvcc."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "grep", "sed", "cat"):
        (programs / name).symlink_to(Path("/usr/bin") / name)
    write_program(programs / "python3", f'exec {sys.executable} "$@"')
    return programs


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def python_with_headers_in(folder: Path) -> str:
    return f'case "$*" in *sysconfig*) echo {folder};; *) exec {sys.executable} "$@";; esac'


def set_up(programs: Path, **variables: str) -> str:
    """What it says on a machine that it refuses."""
    settings = {"PATH": str(programs), "VENV": str(programs.parent / "venv"), "CUDA_HOME": str(programs.parent)}
    refused = subprocess.run(
        ["bash", ROOT / "deploy" / "set_up.sh"],
        env=settings | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert not (programs.parent / "venv").exists()
    return refused.stderr.removeprefix("set-up: ")


def test_an_interpreter_that_is_too_old_is_named(bare_machine: Path) -> None:
    write_program(bare_machine / "python3", 'case "$*" in *version_info*) exit 1;; *) echo Python 3.10.2;; esac')
    assert set_up(bare_machine).startswith("PYTHON=python3 is Python 3.10.2; expected Python 3.11 or newer")
    assert set_up(bare_machine, PYTHON="python9").startswith("PYTHON=python9: no such interpreter")


def test_an_interpreter_that_mmcv_cannot_be_compiled_with_is_named(bare_machine: Path) -> None:
    script = f'case "$*" in *"(3, 13)"*) exit 1;; -V) echo Python 3.13.1;; *) exec {sys.executable} "$@";; esac'
    write_program(bare_machine / "python3", script)
    expected = "PYTHON=python3 is Python 3.13.1, with which mmcv cannot be compiled; expected Python 3.11 or 3.12"
    assert set_up(bare_machine).startswith(expected)


def test_an_interpreter_without_venv_is_named(bare_machine: Path) -> None:
    script = f'case "$*" in *ensurepip*) exit 1;; *) exec {sys.executable} "$@";; esac'
    write_program(bare_machine / "python3", script)
    assert f"apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in set_up(bare_machine)


def test_what_mmcv_is_compiled_with_is_named(bare_machine: Path, tmp_path: Path) -> None:
    assert "without a C++ compiler; on Debian and Ubuntu: apt install g++" in set_up(bare_machine)
    write_program(bare_machine / "c++", "exit 0")
    write_program(bare_machine / "python3", python_with_headers_in(tmp_path))
    assert f"without {tmp_path}/Python.h; on Debian and Ubuntu: apt install python3." in set_up(bare_machine)


def test_a_gpu_needs_nvcc(bare_machine: Path, tmp_path: Path) -> None:
    write_program(bare_machine / "c++", "exit 0")
    (tmp_path / "Python.h").touch()
    write_program(bare_machine / "python3", python_with_headers_in(tmp_path))
    write_program(bare_machine / "nvidia-smi", "exit 0")
    assert "for a GPU, without nvcc; install CUDA's toolkit" in set_up(bare_machine)


def test_a_folder_of_wheels_that_is_not_there_is_named(bare_machine: Path) -> None:
    assert set_up(bare_machine, WHEELS="/nowhere") == "WHEELS=/nowhere: no such folder\n"
