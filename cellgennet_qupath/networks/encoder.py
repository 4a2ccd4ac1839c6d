"""The student on a light ImageNet encoder: EfficientNet-Lite down to stride 16, a small U-Net decoder up.

Training starts from the encoder's ImageNet weights (``efficientnet_lite``); a trained network needs no file
but its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.config import Architecture, StudentConfig
from ..core.errors import TrainingError
from . import geometry
from .crop import narrowed
from .efficientnet_lite import EPSILON, STAGES, STEM, Stage, weights_file
from .unet import init_head

SKIPS = (0, 1, 2)
"""The stages whose outputs are skip connections to the decoder: strides 2, 4 and 8."""
_DECODER = (2.0, 1.5, 1.0)
"""Channels of the decoder from stride 8 to stride 2, in multiples of the student's width."""


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

    def __init__(self, channels_in: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = channels_in * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers += [nn.Conv2d(channels_in, wide, 1, bias=False), nn.BatchNorm2d(wide, EPSILON), nn.ReLU6()]
        layers += [
            _same(stage.kernel, stride),
            _Depthwise(wide, stage.kernel, stride),
            nn.BatchNorm2d(wide, EPSILON),
            nn.ReLU6(),
            nn.Conv2d(wide, stage.channels, 1, bias=False),
            nn.BatchNorm2d(stage.channels, EPSILON),
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


def encoder_layers(variant: Architecture, dropout: float) -> tuple[nn.Sequential, nn.ModuleList]:
    """The stem, to stride 2, and the five stages of a variant, with random weights.

    dropout : of whole channels after the last stage; it grows with depth.
    """
    stem = nn.Sequential(
        _same(3, 2), nn.Conv2d(3, STEM, 3, 2, bias=False), nn.BatchNorm2d(STEM, EPSILON), nn.ReLU6()
    )
    layout = STAGES[variant]
    stages, channels = [], STEM
    for depth, stage in enumerate(layout):
        blocks: list[nn.Module] = []
        for number in range(stage.blocks):
            blocks.append(_Inverted(channels, stage, stage.stride if number == 0 else 1))
            channels = stage.channels
        blocks.append(nn.Dropout2d(dropout * depth / (len(layout) - 1)))
        stages.append(nn.Sequential(*blocks))
    return stem, nn.ModuleList(stages)


def encoder_features(stem: nn.Module, stages: nn.ModuleList, image: Tensor) -> list[Tensor]:
    """The features at strides 2, 4, 8 and 16 (of the last of these stages) of colours in [0, 1]."""
    # The encoder was trained on colours in [-1, 1].
    x = stem(image * 2 - 1)
    found = []
    for stage in stages:
        x = stage(x)
        found.append(x)
    return [*(found[number] for number in SKIPS), found[-1]]


class EncoderUNet(nn.Module):
    """EfficientNet-Lite encoder and a slim U-Net decoder.

    Input  : (n, 3, h, w) float, normalised colours; h and w multiples of ``unit``.
    Output : (n, 2, h / stride, w / stride) logits: foreground, object probability. Output sample i covers
             the input samples [i * stride, (i + 1) * stride).
    Dropout of whole channels grows with depth: ``config.dropout`` after the last stage.

    With stride 1 the last convolution predicts the four samples of each map that a sample of the decoder
    covers: nothing is computed at full resolution. Shi et al., "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network", CVPR 2016.
    """

    unit = geometry.ENCODER_UNIT

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.variant = config.architecture
        layout = STAGES[self.variant]
        self.stem, self.stages = encoder_layers(self.variant, config.dropout)
        skips = [layout[level].channels for level in SKIPS]
        channels = layout[-1].channels
        decoder = []
        for depth, factor in zip(reversed(range(len(skips))), _DECODER, strict=True):
            width = round(config.width * factor)
            rate = config.dropout * depth / len(skips) / 2
            decoder.append(_Merge(channels, skips[depth], width, rate))
            channels = width
        self.decoder = nn.ModuleList(decoder)
        # Maps of stride 1 are rearranged from four for each map at the decoder's stride.
        finer = geometry.DECODER_STRIDE // config.stride
        self.head = nn.Conv2d(channels, 2 * finer**2, 1)
        self.rearrange = nn.PixelShuffle(finer) if finer > 1 else nn.Identity()
        init_head(self.head)

    def forward(self, image: Tensor, rim: int = 0) -> Tensor:
        """Logits of all but ``rim`` input samples on each side, a multiple of ``unit``."""
        return self.maps(self.features(image, rim))

    def maps(self, features: Tensor) -> Tensor:
        """Logits of ``features``."""
        logits: Tensor = self.rearrange(self.head(features))
        return logits

    def features(self, image: Tensor, rim: int = 0) -> Tensor:
        """What the head reads: (n, width, h / 2, w / 2), less the rim."""
        *skips, x = encoder_features(self.stem, self.stages[:-1], image)
        margins = geometry.decoder_margins(geometry.DECODER_STRIDE, len(skips), 1)
        x, margin = self._last_stage(x, rim, margins[0])
        stride = self.unit
        for block, needed in zip(self.decoder, margins, strict=True):
            x, margin = narrowed(x, margin, needed, stride)
            stride //= 2
            x = block(x, narrowed(skips.pop(), rim, margin, stride)[0])
        return narrowed(x, margin, 0, stride)[0]

    def _last_stage(self, x: Tensor, margin: int, needed: int) -> tuple[Tensor, int]:
        """The last stage, each of its blocks on no more than those after it need; and the margin left."""
        stage = STAGES[self.variant][-1]
        reach = stage.kernel // 2 * self.unit
        for number, block in enumerate(self.stages[-1].children()):
            x, margin = narrowed(x, margin, needed + max(0, stage.blocks - number) * reach, self.unit)
            x = block(x)
        return x, margin


def load_imagenet_weights(model: EncoderUNet) -> None:
    """Load the encoder's ImageNet weights; errors as in ``load_imagenet``."""
    load_imagenet(model.variant, model.stem, model.stages, f"student.architecture {model.variant}")


def load_imagenet(variant: Architecture, stem: nn.Module, stages: nn.Module, doing: str) -> None:
    """Load the ImageNet weights of stem and stages of a variant.

    Raises MissingExtraError, which names ``doing``, without the package that has them, and TrainingError
    where it contains another network.
    """
    file = weights_file(variant, doing)
    stored = torch.load(file, map_location="cpu", weights_only=True)
    with torch.no_grad():
        own = [*stem.state_dict().values(), *stages.state_dict().values()]
        # strict=False: the published network continues below stride 16.
        for mine, theirs in zip(own, stored.values(), strict=False):
            if mine.shape != theirs.shape:
                raise TrainingError(file, f"contains another network than {variant}", "Install it again")
            mine.copy_(theirs)


def _same(kernel: int, stride: int) -> nn.Module:
    """TensorFlow's "same" padding for even sizes: an odd sample is added on the right and the bottom."""
    total = kernel - stride if stride > 1 else kernel - 1
    return nn.ZeroPad2d((total // 2, total - total // 2, total // 2, total - total // 2))
