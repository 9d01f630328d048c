import torch

from paploss.trainer.heads.gradient import scale_gradient


def test_values_stay_and_gradient_is_multiplied():
    values = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    scaled = scale_gradient(values, 4.1231)
    assert torch.equal(scaled, values)
    (scaled**2).sum().backward()
    torch.testing.assert_close(values.grad, 4.1231 * 2 * values.detach())
