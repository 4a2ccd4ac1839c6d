"""The student's network converted from torch to OpenVINO."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import openvino
import torch
from torch import Tensor, nn

from ..core.config import StudentConfig
from .network import Network, load_network
from .saved_network import SavedNetwork


def converted(weights: Path, config: StudentConfig, rim: int) -> SavedNetwork:
    """A network as OpenVINO saves it, for maps without a rim (see ``MapPredictor``). Raises BundleError."""
    network = load_network(weights, config, torch.device("cpu"))
    side = network.unit + 2 * rim
    example = torch.zeros(1, side, side, 3)
    with torch.inference_mode(), warnings.catch_warnings():
        # OpenVINO traces with a deprecated part of torch.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = openvino.convert_model(_ImagesToMaps(network, rim), example_input=example)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.xml"
        openvino.save_model(model, file, compress_to_fp16=False)
        return SavedNetwork(file.read_bytes(), file.with_suffix(".bin").read_bytes())


class _ImagesToMaps(nn.Module):
    """The network with channels last, the layout of pixels in memory, and probabilities instead of logits."""

    def __init__(self, network: Network, rim: int) -> None:
        super().__init__()
        self.network, self.rim = network, rim

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.permute(0, 3, 1, 2), self.rim)
        return torch.sigmoid(logits).permute(0, 2, 3, 1)
