"""What the worker tells of its GPUs: from the driver's tool, and nothing where there is none or it fails."""

from pathlib import Path

import pytest
from stack import wait_until

from paploss.jobs.lease import GpuUse
from paploss.worker.gpus import GpuWatch, find_gpu_fault, read_gpu_use

GIB = 2**30


TORCH = """
class cuda:
    @staticmethod
    def device_count():
        return 2

class Product:
    def sum(self):
        return self
    def item(self):
        return 8.0
    def mm(self, other):
        return self

def ones(rows, columns, device):
    if device == "{broken}":
        raise RuntimeError("CUDA error: an uncorrectable ECC error was encountered")
    return Product()
"""


@pytest.mark.parametrize(
    ("broken", "wanted", "fault"),
    [
        ("", 2, ""),
        ("", 1, ""),
        ("", 4, "trials need 4, torch sees 2"),
        ("cuda:1", 1, "a computation on the GPU failed: RuntimeError: CUDA error: an uncorrectable ECC error"),
    ],
)
def test_every_gpu_has_to_compute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, wanted: int, fault: str
) -> None:
    """A stand-in for a torch that sees two GPUs; what the real one says without any is in test_worker.py."""
    (tmp_path / "torch.py").write_text(TORCH.replace("{broken}", broken))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert find_gpu_fault(wanted)[: len(fault) or None] == fault


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A stand-in for nvidia-smi: it prints what the file `answer` holds, and keeps its arguments."""
    path = tmp_path / "nvidia-smi"
    path.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\ncat {tmp_path}/answer\n')
    path.chmod(0o755)
    (tmp_path / "answer").write_text("1024, 81920, 97\n2048, 81920, [N/A]\n")
    return path


def test_each_gpu_has_its_memory_and_utilisation(tool: Path) -> None:
    assert read_gpu_use(str(tool), {}) == (
        GpuUse(memory_used_bytes=GIB, memory_total_bytes=80 * GIB, utilisation=0.97),
        GpuUse(memory_used_bytes=2 * GIB, memory_total_bytes=80 * GIB, utilisation=None),
    )


def test_only_visible_gpus_are_asked_for(tool: Path, tmp_path: Path) -> None:
    read_gpu_use(str(tool), {"CUDA_VISIBLE_DEVICES": "1,GPU-af3b"})
    assert "-i 1,GPU-af3b" in (tmp_path / "arguments").read_text()
    assert read_gpu_use(str(tool), {"CUDA_VISIBLE_DEVICES": ""}) == ()


@pytest.mark.parametrize("answer", ["", "No devices were found", "1, 2", "a, b, c", "-1, 5, 3"])
def test_an_odd_answer_is_none(tool: Path, tmp_path: Path, answer: str) -> None:
    (tmp_path / "answer").write_text(answer)
    assert read_gpu_use(str(tool), {}) == ()


def test_a_tool_that_fails_or_is_gone_is_none(tool: Path, tmp_path: Path) -> None:
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert read_gpu_use(str(tool), {}) == ()
    assert read_gpu_use(str(tmp_path / "missing"), {}) == ()


def test_the_watch_reads_by_itself_and_is_empty_without_a_tool(
    tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert GpuWatch().use == ()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    watch = GpuWatch()
    wait_until(lambda: len(watch.use) == 2, "the first reading")
