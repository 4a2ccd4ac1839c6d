"""A student with a wider decoder (benchmarks/widen.py) begins with the maps of the one it was made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cellgennet_qupath.core.config import StudentConfig
from cellgennet_qupath.networks.network import build

Widened = Callable[[dict[str, Tensor], int], dict[str, Tensor]]


@pytest.fixture
def widened(monkeypatch: pytest.MonkeyPatch) -> Widened:
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2] / "benchmarks")
    import widen

    function: Widened = widen.widened
    return function


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_maps_stay_the_same(widened: Widened, stride: int, seed: int) -> None:
    torch.manual_seed(seed)
    config = StudentConfig.model_validate(
        {"architecture": "efficientnet-lite0", "stride": stride, "width": 8, "patch": 64}
    )
    narrow, wide = (
        build(one, torch.device("cpu")).eval() for one in (config, config.model_copy(update={"width": 16}))
    )
    # Not the statistics of a fresh network, which every channel shares.
    for name, value in narrow.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.1)
    wide.load_state_dict(widened(narrow.state_dict(), seed))
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(wide(image), narrow(image), atol=1e-4, rtol=1e-4)


def test_two_channels_of_one_origin_part_in_training(widened: Widened) -> None:
    torch.manual_seed(0)
    config = StudentConfig(architecture="efficientnet-lite0", width=8, patch=64)
    state = widened(build(config, torch.device("cpu")).state_dict(), 0)
    wide = build(config.model_copy(update={"width": 16}), torch.device("cpu"))
    wide.load_state_dict(state)
    wide(torch.rand(2, 3, 64, 64)).square().sum().backward()
    gradient = dict(wide.named_parameters())["decoder.2.skip.weight"].grad
    assert gradient is not None
    assert not torch.allclose(gradient[:8], gradient[8:])
