"""Runs the student: the weights of a bundle on the fastest runtime of this computer."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from importlib import util
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.config import StudentConfig
from ..core.errors import BundleError, UsageError
from .device import Device, best_device, bfloat16_pays, set_threads
from .inference import Runtime, load_network
from .maps import MapPredictor


def load_runtime(
    weights: Path, config: StudentConfig, device: Device | Literal["auto"] = "auto", threads: int = 0
) -> MapPredictor:
    """The fastest runtime for a device: OpenVINO on processors, torch on graphics cards.

    Without OpenVINO torch is used on processors too. A pickled copy loads the weights, once per process.
    Raises BundleError, and UsageError for a device that this computer does not have.
    """
    chosen = best_device() if device == "auto" else device
    runtime: Runtime
    if chosen == "cpu" and util.find_spec("openvino") is not None:
        from .openvino_runtime import OpenVinoRuntime

        runtime = OpenVinoRuntime(weights, config, threads)
    else:
        runtime = TorchRuntime(weights, config, chosen, threads)
    runtime.reopen = partial(_reopened, weights.absolute(), config, device, threads, _checksum(weights))
    return runtime


class TorchRuntime(Runtime):
    """The student on torch."""

    def __init__(
        self, weights: Path, config: StudentConfig, device: Device = "cpu", threads: int = 0
    ) -> None:
        super().__init__(config)
        set_threads(threads)
        if device not in ("cpu", best_device()):
            raise UsageError(
                f"--device {device}", "torch finds no such device on this computer", "Leave the option out"
            )
        self._device = torch.device(device)
        self._model = load_network(weights, config, self._device)
        self._half = bfloat16_pays(device)
        self.device = f"{device}, torch, {'bfloat16' if self._half else 'float32'}"

    @torch.inference_mode()
    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``MapPredictor``."""
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            logits = self._model(batch)
        maps: NDArray[np.float32] = torch.sigmoid(logits.float()).permute(0, 2, 3, 1).cpu().numpy()
        return maps


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@lru_cache(maxsize=2)
def _reopened(
    weights: Path,
    config: StudentConfig,
    device: Device | Literal["auto"],
    threads: int,
    checksum: str,
) -> MapPredictor:
    """A runtime in another process, of the same weights."""
    if not weights.is_file():
        raise BundleError(weights, "is missing", "Keep bundles in a folder that all workers can read")
    if _checksum(weights) != checksum:
        raise BundleError(weights, "is not the same file for all workers", "Use one bundle for all of them")
    return load_runtime(weights, config, device, threads)
