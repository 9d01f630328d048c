"""What several tests of the heads measure once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import two_devices


@pytest.fixture(scope="session")
def on_two_devices(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """What `two_devices` writes: value on the first device and averaged gradients by (loss, case, gathered or not), and
    the rest by its name."""
    file = tmp_path_factory.mktemp("devices") / "found.pt"
    root = Path(two_devices.__file__).parents[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, two_devices.__file__, str(file)], check=True, env=environment, capture_output=True)
    return torch.load(file)
