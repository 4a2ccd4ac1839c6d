"""The student on OpenVINO: the fastest runtime on processors."""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.config import StudentConfig
from .device import Precision, in_bfloat16
from .inference import Runtime
from .saved_network import SavedNetwork, saved_network

# OpenVINO reports every conversion to its developers unless this package cannot be imported. What a hospital
# computes is private.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino  # noqa: E402

# OpenVINO's bindings set up their access to NumPy when an array is first asked for. Two threads that both ask
# first wait for each other for ever, so it is done here, while there is one (the import lock).
openvino.Tensor(np.zeros(1, np.float32)).data.copy()

_SHAPES = 2
"""Compiled networks kept, one for each shape of input."""
_STREAMS = 2
"""Parallel predictions, each on its share of the threads. Threads of one prediction wait for each other at
every layer: two predictions in parallel take three quarters of the time. More would need more memory."""


class OpenVinoRuntime(Runtime):
    """The student on a processor, in bfloat16 where the processor has it.

    The converted network is kept from run to run (see ``saved_network``) and compiled for each new shape of
    images (some tenths of a second), so use few shapes. Within one shape equal pixels get equal maps, bit by
    bit, on any number of threads. Several threads may predict at the same time.

    Raises BundleError, and UsageError for a precision that the processor does not have.
    """

    def __init__(
        self, weights: Path, config: StudentConfig, threads: int = 0, precision: Precision = "auto"
    ) -> None:
        half = in_bfloat16("cpu", precision)
        self._saved = saved_network(weights, config, _convert)
        super().__init__(self._saved.unit, self._saved.context, config.stride)
        self._network = openvino.Core().read_model(self._saved.graph, self._saved.constants)
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


def _convert(weights: Path, config: StudentConfig) -> SavedNetwork:
    from .conversion import converted

    return converted(weights, config)
