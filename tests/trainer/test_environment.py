"""What a training says that it ran with."""

from importlib import metadata

import pytest
import torch

from paploss.trainer import environment
from paploss.trainer.environment import describe_environment

CPU = torch.device("cpu")


def test_versions_are_those_of_the_installed_packages() -> None:
    assert describe_environment(CPU)["numpy"] == metadata.version("numpy")


def test_a_fork_is_named_where_it_takes_the_place_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("a-package-that-is-not-installed",))
    monkeypatch.setattr(environment, "FORKS", {"a-package-that-is-not-installed": "numpy"})
    described = describe_environment(CPU)["a-package-that-is-not-installed"]
    assert described == f"{metadata.version('numpy')} of numpy"
