"""The student on torch: graphics cards, and processors without OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.config import StudentConfig
from ..core.errors import UsageError
from .device import Device, Precision, best_device, in_bfloat16, set_threads
from .inference import Runtime
from .network import load_network


class TorchRuntime(Runtime):
    """The student on torch.

    precision : of its arithmetic; "auto": bfloat16 where the device has it.

    Raises BundleError, and UsageError for a device or a precision that this computer does not have.
    """

    def __init__(
        self,
        weights: Path,
        config: StudentConfig,
        device: Device = "cpu",
        threads: int = 0,
        precision: Precision = "auto",
    ) -> None:
        set_threads(threads)
        if device not in ("cpu", best_device()):
            raise UsageError(
                f"--device {device}", "torch finds no such device on this computer", "Leave the option out"
            )
        self._half = in_bfloat16(device, precision)
        self._device = torch.device(device)
        self._model = load_network(weights, config, self._device)
        super().__init__(config)
        self.device = f"{device}, torch, {'bfloat16' if self._half else 'float32'}"

    @torch.inference_mode()
    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        """See ``MapPredictor``."""
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            logits = self._model(batch, rim)
        maps: NDArray[np.float32] = torch.sigmoid(logits.float()).permute(0, 2, 3, 1).cpu().numpy()
        return maps
