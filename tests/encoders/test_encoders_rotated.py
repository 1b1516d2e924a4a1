"""The last layer of the towers: trained in one basis, read in another."""

from __future__ import annotations

import numpy as np
import torch

from omnisearch.encoders.models.rotated import RotatedLinear


def pair_of_layers() -> tuple[RotatedLinear, RotatedLinear]:
    torch.manual_seed(0)
    plain, rotated = RotatedLinear(6, 4), RotatedLinear(6, 4)
    rotated.load_state_dict(plain.state_dict())
    rotated.rotation.copy_(torch.linalg.qr(torch.randn(4, 4))[0])
    return plain, rotated


def test_a_layer_that_was_not_rotated_is_a_linear_one() -> None:
    plain, _ = pair_of_layers()
    x = torch.randn(5, 6)
    torch.testing.assert_close(plain(x), torch.nn.functional.linear(x, plain.weight, plain.bias))


def test_a_rotation_changes_no_cosine_and_is_not_trained() -> None:
    plain, rotated = pair_of_layers()
    x = torch.randn(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(rotated(x) @ rotated(x).T, plain(x) @ plain(x).T)
        torch.testing.assert_close(rotated.unrotated(rotated(x)), plain(x))
    assert {name for name, _ in rotated.named_parameters()} == {"weight", "bias"}
    assert "rotation" in rotated.state_dict()


def test_folded_it_gives_the_same() -> None:
    plain, rotated = pair_of_layers()
    x = torch.randn(5, 6)
    with torch.no_grad():
        before = rotated(x)
        assert rotated.is_rotated
        rotated.fold()
        rotated.fold()  # once is enough
        torch.testing.assert_close(rotated(x), before)
        torch.testing.assert_close(rotated.unrotated(rotated(x)), plain(x))
        torch.testing.assert_close(
            torch.nn.functional.linear(x, rotated.weight, rotated.bias), before
        )


def test_what_cosines_teach_does_not_depend_on_the_rotation() -> None:
    """Adam's steps on a loss of cosines are those of the layer that was not rotated."""
    plain, rotated = pair_of_layers()
    x, goal = torch.randn(5, 6), torch.randn(5, 5)
    for layer in (plain, rotated):
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
        for _ in range(10):
            optimiser.zero_grad()
            y = layer(x)
            torch.square(y @ y.T - goal).mean().backward()
            optimiser.step()
    np.testing.assert_allclose(
        rotated.weight.detach().numpy(), plain.weight.detach().numpy(), atol=1e-3
    )
