"""The student: a light U-Net with a half-resolution stem and two output maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.config import StudentConfig
from . import geometry
from .crop import narrowed


class ConvBlock(nn.Sequential):
    """Two 3x3 convolutions with batch normalisation, then dropout of whole channels."""

    def __init__(self, channels_in: int, channels_out: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )


class StudentUNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) on half resolution, with dropout that grows with depth.

    Input  : (n, 3, h, w) float, normalised colours; h and w multiples of ``unit``.
    Output : (n, 2, h / 2, w / 2) logits: foreground, object probability. Output sample i covers the
             input samples 2i and 2i + 1.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        widths = [config.width * 2**level for level in range(config.levels)]
        rates = layerwise_dropout(config)
        self.unit = geometry.unit(config)
        self.stem = nn.Sequential(
            nn.Conv2d(3, config.width, 4, stride=geometry.UNET_STRIDE, padding=1, bias=False),
            nn.BatchNorm2d(config.width),
            nn.ReLU(inplace=True),
        )
        self.down = nn.ModuleList(
            ConvBlock(widths[max(0, level - 1)], widths[level], rates[level])
            for level in range(config.levels)
        )
        self.up = nn.ModuleList(
            ConvBlock(widths[level] + widths[level + 1], widths[level], rates[level])
            for level in reversed(range(config.levels - 1))
        )
        self.head = nn.Conv2d(config.width, 2, 1)
        init_head(self.head)

    def forward(self, image: Tensor, rim: int = 0) -> Tensor:
        """Logits of all but ``rim`` input samples on each side, a multiple of ``unit``."""
        return self.maps(self.features(image, rim))

    def maps(self, features: Tensor) -> Tensor:
        """Logits of ``features``."""
        logits: Tensor = self.head(features)
        return logits

    def features(self, image: Tensor, rim: int = 0) -> Tensor:
        """What the head reads: (n, width, h / 2, w / 2), less the rim."""
        x = self.stem(image)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                x = functional.max_pool2d(x, 2)
            x = block(x)
            skips.append(x)
        skips.pop()
        margin, stride = rim, self.unit
        for block, needed in zip(
            self.up, geometry.decoder_margins(geometry.UNET_STRIDE, len(skips), 2), strict=True
        ):
            x, margin = narrowed(x, margin, needed, stride)
            stride //= 2
            skip, _ = narrowed(skips.pop(), rim, margin, stride)
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], dim=1))
        return narrowed(x, margin, 0, stride)[0]


def init_head(head: nn.Conv2d) -> None:
    """Let maps start at the share of tissue that nuclei cover, about a fifth: it saves the first epochs."""
    nn.init.constant_(head.bias, -1.4)  # type: ignore[arg-type]


def layerwise_dropout(config: StudentConfig) -> list[float]:
    """Dropout rate of each level: none at the first, ``config.dropout`` at the deepest, linear between."""
    return [config.dropout * level / (config.levels - 1) for level in range(config.levels)]
