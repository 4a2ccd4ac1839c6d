"""The student's network by its configuration: on an ImageNet encoder, or a plain U-Net."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import utils

from ..core.config import StudentConfig
from ..core.errors import BundleError, TrainingError
from . import encoder, unet
from .weights import WeightsError, read_shapes, read_weights

Network = unet.StudentUNet | encoder.EncoderUNet


def build(config: StudentConfig, device: torch.device) -> Network:
    """An untrained network on a device, in the memory layout that convolutions are fastest with."""
    plain = config.architecture == "unet"
    model: Network = unet.StudentUNet(config) if plain else encoder.EncoderUNet(config)
    return utils.convert_conv2d_weight_memory_format(model.to(device), torch.channels_last)


def load_network(weights: Path, config: StudentConfig, device: torch.device) -> Network:
    """The trained network, ready for inference. Raises BundleError."""
    model = build(config, device).eval()
    try:
        model.load_state_dict(read_weights(weights))
    except WeightsError as error:
        raise BundleError(weights, str(error), "Copy the bundle again or train again") from error
    except RuntimeError as error:
        raise BundleError(weights, "is not the student that the card describes", "Train again") from error
    return model


def check_weights(path: Path, config: StudentConfig) -> None:
    """Check that a file contains weights for this network, without loading them. Raises TrainingError."""
    try:
        shapes = read_shapes(path)
    except WeightsError as error:
        raise TrainingError(path, str(error), "Give student.init a student.safetensors") from error
    with torch.device("meta"):
        plain = config.architecture == "unet"
        model: Network = unet.StudentUNet(config) if plain else encoder.EncoderUNet(config)
    if shapes != {name: tuple(value.shape) for name, value in model.state_dict().items()}:
        raise TrainingError(
            path, "contains a student of another shape", "Use the settings it was trained with"
        )


def init_pretrained(model: Network) -> None:
    """Load what a network knows before training: an encoder's ImageNet weights."""
    if isinstance(model, encoder.EncoderUNet):
        encoder.load_imagenet_weights(model)
