"""StarDist on an ImageNet encoder, in torch: where it is trained; ``stardist_encoder`` is the same in Keras.

TensorFlow's depthwise convolutions take several times as long to train as torch's on a processor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..core.config import TeacherConfig
from .efficientnet_lite import PYRAMID, STAGES
from .encoder import SKIPS, encoder_features, encoder_layers, load_imagenet


class StarDistNetwork(nn.Module):
    """EfficientNet-Lite encoder, a feature pyramid, and StarDist's two heads, at half resolution.

    Input  : (n, 3, h, w) float, normalised colours in [0, 1]; h and w multiples of 16.
    Output : logits of the object probability (n, 1, h / 2, w / 2) and distances in pixels
             (n, rays, h / 2, w / 2).
    """

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.variant = config.backbone
        self.stem, self.stages = encoder_layers(self.variant, 0.0)
        layout = STAGES[self.variant]
        coarse, levels = layout[-1].channels, []
        for factor, number in zip(PYRAMID, reversed(SKIPS), strict=True):
            levels.append(_Level(coarse, layout[number].channels, factor * config.filters))
            coarse = factor * config.filters
        self.pyramid = nn.ModuleList(levels)
        self.features = nn.Conv2d(coarse, 4 * config.filters, 3, padding=1)
        self.prob = nn.Conv2d(4 * config.filters, 1, 1)
        self.dist = nn.Conv2d(4 * config.filters, config.rays, 1)
        nn.init.constant_(self.prob.bias, -2.0)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        *skips, x = encoder_features(self.stem, self.stages, image)
        for level in self.pyramid:
            x = level(x, skips.pop())
        x = functional.relu(self.features(x))
        return self.prob(x), self.dist(x)

    def init_pretrained(self) -> None:
        """Load the encoder's ImageNet weights; errors as in ``encoder.load_imagenet``."""
        load_imagenet(self.variant, self.stem, self.stages, f"teacher.backbone {self.variant}")

    def load_arrays(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Set all weights from ``arrays``. Raises ValueError where there are too few or too many."""
        own = [value for value in self.state_dict().values() if value.dim()]
        with torch.no_grad():
            for value, array in zip(own, arrays, strict=True):
                value.copy_(torch.from_numpy(array.copy()))

    def arrays(self) -> list[NDArray[np.float32]]:
        """All weights in the order of ``stardist_encoder.load_network``, without counters."""
        return [value.cpu().numpy() for value in self.state_dict().values() if value.dim()]


class _Level(nn.Module):
    """A level of the pyramid: coarser features, enlarged, and the encoder's, added; two 3x3 convolutions."""

    def __init__(self, coarse: int, skip: int, width: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, width, 1, bias=False)
        self.skip = nn.Conv2d(skip, width, 1, bias=False)
        layers: list[nn.Module] = []
        for _ in range(2):
            convolution = nn.Conv2d(width, width, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(
            self.coarse(coarse), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        y: Tensor = self.layers(x + self.skip(skip))
        return y
