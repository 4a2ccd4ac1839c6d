"""The auxiliary task of the student's training: a head that is thrown away afterwards.

Two maps say little about where one of two touching nuclei ends. Features that must also tell the shape and
the centre of the nucleus around each sample, and where nuclei touch, separate them better (docs/results.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import losses
from .targets import GEOMETRY, GEOMETRY_STRIDE


class GeometryTask(nn.Module):
    """A 1x1 convolution of the network's last features.

    Input  : (n, width, h / 2, w / 2), features of the student.
    Output : (n, 1 + ``GEOMETRY``, h / 2, w / 2): the logit of the border between nuclei, then
             ``targets.geometry``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(width, 1 + GEOMETRY, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        # The maps start at what is common: hardly any border, and distances of one unit.
        self.head.bias = nn.Parameter(torch.tensor([-3.0, 0.0, 0.0, *[1.0] * (GEOMETRY - 2)]))

    def forward(self, features: Tensor, truth: Tensor, objectness: Tensor, touching: Tensor) -> Tensor:
        """The loss: BCE of the border, half of the error of vectors and half of that of distances.

        truth      : (n, ``GEOMETRY``, h / 2, w / 2), 0 outside nuclei.
        objectness : (n, h, w), -1 where unknown.
        touching   : (n, h, w), 1 where nuclei touch.
        """
        found = self.head(features).float()
        known = functional.avg_pool2d((objectness >= 0).float()[:, None], GEOMETRY_STRIDE)[:, 0]
        border = functional.avg_pool2d(touching[:, None], GEOMETRY_STRIDE)[:, 0]
        inside = (truth[:, 2:].amax(dim=1) > 0).float()
        height = objectness[:, ::GEOMETRY_STRIDE, ::GEOMETRY_STRIDE].clamp_min(0)
        walls = losses.binary_cross_entropy(found[:, 0], border, known * (1 + 3 * border))
        vectors = losses.vectors(found[:, 1:3], truth[:, :2], inside * (1 + 3 * border))
        distances = losses.distances(found[:, 3:], truth[:, 2:], inside * height)
        return walls + (vectors + distances) / 2
