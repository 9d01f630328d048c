from typing import Literal

import pytest
import torch
from torch import Tensor

from paploss.losses import handmade_ap_loss, identity_control_points, parameterized_ap_loss
from paploss.losses.handmade_ap import ChunkedFunction, WeightedScores
from tests.paploss.losses.oracle import Function, of_difference, pairwise_ap_loss, relative_errors, value_and_gradients

Form = Literal["linear", "square", "sigmoid"]


def logistic(u: Tensor) -> Tensor:
    return torch.sigmoid(2 * u - 1)


def functions_of(form: Form) -> list[Function]:
    """H2, I2, I3, I1, H1."""
    of_d = {"linear": of_difference(lambda z: z), "square": of_difference(torch.square), "sigmoid": torch.sigmoid}
    of_u = {"linear": lambda u: u, "square": torch.square, "sigmoid": logistic}
    return [of_d[form], of_u[form], of_u[form], of_u[form], of_d[form]]


def entries(device: torch.device, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(-1, 2, (300,), generator=generator)
    logits = torch.randn(300, generator=generator, dtype=torch.float64) * 1.5
    quality = torch.rand(300, generator=generator, dtype=torch.float64)
    return logits.to(device, dtype), quality.to(device, dtype), targets.to(device)


@pytest.mark.parametrize("form", ["linear", "square", "sigmoid"])
@pytest.mark.parametrize("top_k", [None, 60])
def test_agrees_with_the_pairwise_oracle(form: Form, top_k: int | None, device: torch.device) -> None:
    logits, quality, targets = entries(device)
    results = value_and_gradients(handmade_ap_loss, logits, quality, targets, form, top_k)
    expected = value_and_gradients(pairwise_ap_loss, logits, quality, targets, functions_of(form), top_k)
    assert max(relative_errors(results, expected)) < 1e-12


def test_linear_is_the_parameterized_loss_with_identity_functions(device: torch.device) -> None:
    arguments = entries(device)
    results = value_and_gradients(handmade_ap_loss, *arguments, "linear")
    expected = value_and_gradients(parameterized_ap_loss, *arguments, identity_control_points())
    assert max(relative_errors(results, expected)) < 1e-12


def test_sigmoid_does_not_depend_on_the_size_of_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = entries(torch.device("cpu"))
    whole = value_and_gradients(handmade_ap_loss, *arguments, "sigmoid")
    monkeypatch.setattr("paploss.losses.handmade_ap.PAIRS_AT_ONCE", 1000)
    assert max(relative_errors(value_and_gradients(handmade_ap_loss, *arguments, "sigmoid"), whole)) < 1e-13


def test_no_chunk_has_more_pairs_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paploss.losses.handmade_ap.PAIRS_AT_ONCE", 1000)
    sizes = []

    def ones(differences: Tensor) -> Tensor:
        sizes.append(differences.numel())
        return torch.ones_like(differences)

    references, scores = torch.zeros(30, dtype=torch.float64), torch.zeros(500, dtype=torch.float64)
    function = ChunkedFunction(references, (ones,))
    assert function.sums(WeightedScores(scores, torch.ones_like(scores))).tolist() == [500] * 30
    assert max(sizes) == 990
    assert sum(sizes) == 30 * 500


@pytest.mark.parametrize("form", ["linear", "square", "sigmoid"])
def test_float32_and_no_positives(form: Form) -> None:
    logits, quality, targets = entries(torch.device("cpu"), torch.float32)
    results = value_and_gradients(handmade_ap_loss, logits, quality, targets, form)
    expected = value_and_gradients(handmade_ap_loss, logits.double(), quality.double(), targets, form)
    assert max(relative_errors(results, expected)) < 1e-6
    nothing = value_and_gradients(handmade_ap_loss, logits, quality, targets.clamp_max(0), form)
    assert all(bool((result == 0).all()) for result in nothing)


def test_an_unknown_form_is_named() -> None:
    with pytest.raises(ValueError, match="form: expected linear, square or sigmoid, received 'cubic'"):
        handmade_ap_loss(*entries(torch.device("cpu")), "cubic")  # type: ignore[arg-type]
