"""The student as ONNX, for programs that run networks without torch."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.config import StudentConfig
from ..core.extras import require
from .network import Network, load_network

OPSET = 17
"""Read by ONNX Runtime 1.13 (2022) and later."""
INPUT, OUTPUT = "image", "maps"


@dataclass(frozen=True)
class OnnxNetwork:
    """A network in ONNX: the content of its file, and the samples of which sides of images are multiples."""

    content: bytes
    unit: int


def onnx_of(weights: Path, config: StudentConfig) -> OnnxNetwork:
    """The student in one ONNX file: float32 (n, 3, h, w) of normalised images to maps.

    Of the maps (n, 2, h / stride, w / stride), channel 0 is the probability of foreground and channel 1 the
    object probability, as of ``MapPredictor.predict``.

    Raises BundleError, and MissingExtraError where the package ``onnx`` is not installed.
    """
    require("bioimageio", "writing ONNX")
    network = _Probabilities(load_network(weights, config, torch.device("cpu"))).eval()
    example = torch.zeros(1, 3, 2 * network.unit, 2 * network.unit)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        file = Path(folder) / "student.onnx"
        # torch's other exporter needs more packages, and says of this one that it is the older.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            file,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "n", 2: f"{name}_h", 3: f"{name}_w"} for name in (INPUT, OUTPUT)},
        )
        return OnnxNetwork(file.read_bytes(), network.unit)


def torch_maps(weights: Path, config: StudentConfig, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """What torch computes in float32 where the ONNX file is run: the reference for its output.

    images : float32 (n, 3, h, w). Returns float32 (n, 2, h / stride, w / stride).
    """
    network = _Probabilities(load_network(weights, config, torch.device("cpu")))
    with torch.inference_mode():
        maps: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
    return maps


class _Probabilities(nn.Module):
    """The network with probabilities instead of logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.unit = network.unit

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image)
        return torch.sigmoid(logits)
