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
_Kind = tuple[tuple[int, ...], int]
"""The shape of the input and the rim of the maps for which a network is compiled."""
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
        super().__init__(config)
        self._weights, self._config = weights, config
        self._networks: dict[int, tuple[SavedNetwork, Any]] = {}
        self.device = f"cpu, openvino, {'bfloat16' if half else 'float32'}"
        self.streams = min(_STREAMS, threads or os.cpu_count() or 1)
        self._options = {
            "NUM_STREAMS": self.streams,
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._idle: OrderedDict[_Kind, SimpleQueue[Any]] = OrderedDict()
        self._compiling = threading.Lock()
        self._network(self.context)  # the one that slides are segmented with; a faulty bundle is noticed here

    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        """See ``MapPredictor``."""
        idle = self._requests((images.shape, rim))
        request = idle.get()
        try:
            maps: NDArray[np.float32] = request.infer({0: np.ascontiguousarray(images)})[0].copy()
        finally:
            idle.put(request)  # its memory is written again
        return maps

    def _requests(self, kind: _Kind) -> SimpleQueue[Any]:
        with self._compiling:
            if kind not in self._idle:
                while len(self._idle) >= _SHAPES:
                    self._idle.popitem(last=False)
                shape, rim = kind
                network = self._network(rim)
                network.reshape(list(shape))
                compiled = openvino.Core().compile_model(network, "CPU", self._options)
                self._idle[kind] = SimpleQueue()
                for _ in range(self.streams):
                    self._idle[kind].put(compiled.create_infer_request())
            self._idle.move_to_end(kind)
            return self._idle[kind]

    def _network(self, rim: int) -> Any:
        """The network for maps without a rim. It uses the memory of its constants, which is kept with it."""
        if rim not in self._networks:
            saved = saved_network(self._weights, self._config, rim, _convert)
            self._networks[rim] = saved, openvino.Core().read_model(saved.graph, saved.constants)
        return self._networks[rim][1]


def _convert(weights: Path, config: StudentConfig, rim: int) -> SavedNetwork:
    from .conversion import converted

    return converted(weights, config, rim)
