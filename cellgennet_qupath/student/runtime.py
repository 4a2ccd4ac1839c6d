"""The student at work: weights of a bundle -> maps of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import StudentConfig
from ..errors import BundleError
from .device import bfloat16_pays
from .network import build, receptive_field
from .trainer import set_threads
from .unet import STRIDE


class TorchRuntime:
    """The student on torch. The same on every tile that shows the same samples around a place.

    stride          : input samples per output sample.
    unit            : tiles must begin at, and measure, multiples of this many input samples.
    receptive_field : input samples on each side that an output sample may depend on.
    """

    def __init__(self, weights: Path, config: StudentConfig, device: str = "cpu", threads: int = 0) -> None:
        set_threads(threads)
        self._device = torch.device(device)
        self._model = build(config, self._device).eval()
        try:
            self._model.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise BundleError(
                weights, "does not hold the student its card describes", "Train again"
            ) from error
        self._half = bfloat16_pays(self._device.type)
        self.stride = STRIDE
        self.unit = self._model.unit
        self.receptive_field = receptive_field(config)

    @torch.inference_mode()
    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, h, w, 3) normalised images -> (n, h / 2, w / 2, 2) foreground and object probability."""
        batch = torch.from_numpy(np.ascontiguousarray(images)).to(self._device).permute(0, 3, 1, 2)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            logits = self._model(batch)
        maps: NDArray[np.float32] = torch.sigmoid(logits.float()).permute(0, 2, 3, 1).cpu().numpy()
        return maps
