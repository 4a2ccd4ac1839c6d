"""The student's network by its configuration, whichever of its two sizes."""

from __future__ import annotations

import math

import torch
from torch.nn import utils

from ..core.config import StudentConfig
from . import encoder, unet

Network = unet.StudentUNet | encoder.EncoderUNet


def build(config: StudentConfig, device: torch.device) -> Network:
    """An untrained network on a device, in the memory layout that convolutions are fastest with."""
    plain = config.architecture == "unet"
    model: Network = unet.StudentUNet(config) if plain else encoder.EncoderUNet(config)
    return utils.convert_conv2d_weight_memory_format(model.to(device), torch.channels_last)


def start(model: Network) -> None:
    """Give a network whatever it knows before training: ImageNet to the encoder."""
    if isinstance(model, encoder.EncoderUNet):
        encoder.imagenet_start(model)


def receptive_field(config: StudentConfig) -> int:
    """How many input samples away, on one side, an input sample can still change an output sample."""
    if config.architecture == "unet":
        return unet.receptive_field(config)
    return encoder.encoder_receptive_field(config)


_COUNTS = {"unet": 0.8, "efficientnet-lite0": 0.5}


def context(config: StudentConfig, unit: int) -> int:
    """Input samples on each side that a map sample must be shown, a multiple of the network's ``unit``.

    The rim of the receptive field hardly counts: without it, trained networks change probabilities by
    less than 1e-3, which is less than decoding tells apart.
    """
    return math.ceil(_COUNTS[config.architecture] * receptive_field(config) / unit) * unit
