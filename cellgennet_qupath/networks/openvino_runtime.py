"""The student on OpenVINO: the fastest runtime on processors."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import OrderedDict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..core.config import StudentConfig
from .device import bfloat16_pays
from .inference import Runtime, load_network
from .network import Network

# OpenVINO reports every conversion to its developers unless this package cannot be imported. What a hospital
# computes is private.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

_SHAPES = 2
"""Compiled networks kept, one for each shape of input."""
_STREAMS = 2
"""Parallel predictions, each on its share of the threads. Threads of one prediction wait for each other at
every layer: two predictions in parallel take three quarters of the time. More would need more memory."""


class OpenVinoRuntime(Runtime):
    """The student on a processor, in bfloat16 where the processor has it.

    The network is converted in memory and compiled for each new shape of images (some tenths of a
    second), so use few shapes. Within one shape equal pixels get equal maps, bit by bit, on any
    number of threads. Several threads may predict at the same time.
    """

    def __init__(self, weights: Path, config: StudentConfig, threads: int = 0) -> None:
        super().__init__(config)
        network = _ImagesToMaps(load_network(weights, config, torch.device("cpu")))
        example = torch.zeros(1, 2 * self.unit, 2 * self.unit, 3)
        with torch.inference_mode(), warnings.catch_warnings():
            # OpenVINO traces with a deprecated part of torch.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._network = openvino.convert_model(network, example_input=example)
        half = bfloat16_pays("cpu")
        self.device = f"cpu, openvino, {'bfloat16' if half else 'float32'}"
        self.streams = min(_STREAMS, threads or os.cpu_count() or 1)
        self._options = {
            "NUM_STREAMS": self.streams,
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._idle: OrderedDict[tuple[int, ...], SimpleQueue[Any]] = OrderedDict()
        self._compiling = threading.Lock()

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``MapPredictor``."""
        idle = self._requests(images.shape)
        request = idle.get()
        try:
            maps: NDArray[np.float32] = request.infer({0: np.ascontiguousarray(images)})[0].copy()
        finally:
            idle.put(request)  # its memory is written again
        return maps

    def _requests(self, shape: tuple[int, ...]) -> SimpleQueue[Any]:
        with self._compiling:
            if shape not in self._idle:
                while len(self._idle) >= _SHAPES:
                    self._idle.popitem(last=False)
                self._network.reshape(list(shape))
                compiled = openvino.Core().compile_model(self._network, "CPU", self._options)
                self._idle[shape] = SimpleQueue()
                for _ in range(self.streams):
                    self._idle[shape].put(compiled.create_infer_request())
            self._idle.move_to_end(shape)
            return self._idle[shape]


class _ImagesToMaps(nn.Module):
    """The network with channels last, the layout of pixels in memory, and probabilities instead of logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.permute(0, 3, 1, 2))
        return torch.sigmoid(logits).permute(0, 2, 3, 1)
