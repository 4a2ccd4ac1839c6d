"""The student's geometry by its configuration: its unit, its receptive field, margins. Needs no torch.

All lengths are input samples.
"""

from __future__ import annotations

import math

from ..core.config import StudentConfig
from ..geometry.grid import round_up
from .efficientnet_lite import STAGES

UNET_STRIDE = 2
"""Of the plain U-Net's maps."""
ENCODER_UNIT = 16
"""The stride of the encoder's last stages."""
DECODER_STRIDE = 2
"""Of the last level of the encoder's decoder."""


def unit(config: StudentConfig) -> int:
    """Sides of input are multiples of this many samples."""
    return UNET_STRIDE * 2 ** (config.levels - 1) if config.architecture == "unet" else ENCODER_UNIT


def context(config: StudentConfig) -> int:
    """What a map sample needs to see on each side, a multiple of the network's ``unit``.

    The outer part of the receptive field hardly counts: without it the probabilities of trained networks
    change by less than 1e-3, too little to change the decoding.
    """
    share = 0.8 if config.architecture == "unet" else 0.5
    return round_up(math.ceil(share * receptive_field(config)), unit(config))


def receptive_field(config: StudentConfig) -> int:
    """The distance over which an input sample can change an output sample.

    Summed along the longest path.
    """
    return _unet_field(config) if config.architecture == "unet" else _encoder_field(config)


def _unet_field(config: StudentConfig) -> int:
    """Stem, down, deepest level, up; two 3x3 convolutions and one resampling a level."""
    reach = 2
    for level in range(config.levels):
        scale = UNET_STRIDE * 2**level
        passes = 1 if level == config.levels - 1 else 2
        reach += passes * 2 * scale + scale
    return reach


def _encoder_field(config: StudentConfig) -> int:
    jump, reach = 2, 2
    for stage in STAGES[config.architecture]:
        for number in range(stage.blocks):
            reach += (stage.kernel // 2 + (stage.stride > 1 and number == 0)) * jump
            jump *= stage.stride if number == 0 else 1
    while jump > DECODER_STRIDE:
        reach += jump  # upsampling uses one neighbour
        jump //= 2
        reach += jump  # one 3x3 convolution
    return reach


def decoder_margins(finest: int, levels: int, convolutions: int) -> list[int]:
    """What each level of a decoder needs around the samples whose maps are wanted, the coarsest level first.

    Enlarging the coarser level takes one sample on each side, and so does every 3x3 convolution; a margin is
    whole samples of the coarser level. finest: stride of the last level; the others double it.
    """
    needed, margins = 0, []
    for level in range(levels):
        stride = finest << level
        needed = round_up(needed + (1 + convolutions) * stride, 2 * stride)
        margins.append(needed)
    return margins[::-1]
