"""The last layer of the towers: trained in one basis, read in another."""

from __future__ import annotations

import numpy as np
import torch

from encoders.turned import TurnedLinear


def pair_of_layers() -> tuple[TurnedLinear, TurnedLinear]:
    torch.manual_seed(0)
    plain, turned = TurnedLinear(6, 4), TurnedLinear(6, 4)
    turned.load_state_dict(plain.state_dict())
    turned.turn.copy_(torch.linalg.qr(torch.randn(4, 4))[0])
    return plain, turned


def test_a_layer_that_was_not_turned_is_a_linear_one() -> None:
    plain, _ = pair_of_layers()
    x = torch.randn(5, 6)
    torch.testing.assert_close(plain(x), torch.nn.functional.linear(x, plain.weight, plain.bias))


def test_a_turn_changes_no_cosine_and_is_not_trained() -> None:
    plain, turned = pair_of_layers()
    x = torch.randn(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(turned(x) @ turned(x).T, plain(x) @ plain(x).T)
        torch.testing.assert_close(turned.turned_back(turned(x)), plain(x))
    assert {name for name, _ in turned.named_parameters()} == {"weight", "bias"}
    assert "turn" in turned.state_dict()


def test_folded_it_gives_the_same() -> None:
    _, turned = pair_of_layers()
    x = torch.randn(5, 6)
    with torch.no_grad():
        before = turned(x)
        assert turned.is_turned
        turned.fold()
        assert not turned.is_turned
        torch.testing.assert_close(turned(x), before)
        torch.testing.assert_close(
            torch.nn.functional.linear(x, turned.weight, turned.bias), before
        )


def test_what_cosines_teach_does_not_depend_on_the_turn() -> None:
    """Adam's steps on a loss of cosines are those of the layer that was not turned."""
    plain, turned = pair_of_layers()
    x, goal = torch.randn(5, 6), torch.randn(5, 5)
    for layer in (plain, turned):
        optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
        for _ in range(10):
            optimiser.zero_grad()
            y = layer(x)
            torch.square(y @ y.T - goal).mean().backward()
            optimiser.step()
    np.testing.assert_allclose(
        turned.weight.detach().numpy(), plain.weight.detach().numpy(), atol=1e-3
    )
