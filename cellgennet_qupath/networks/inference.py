"""What the student's runtimes have in common: loading weights, geometry, copies for other processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.config import StudentConfig
from ..core.errors import BundleError
from .network import Network, build, context
from .unet import STRIDE
from .weights import WeightsError, read_weights


class Runtime(ABC):
    """A runtime of the student; see ``MapPredictor`` for the meaning of the attributes.

    reopen : makes a copy of it in another process; set by ``load_runtime``.
    """

    stride = STRIDE
    streams = 1
    device: str
    reopen: Callable[[], Any]

    def __init__(self, config: StudentConfig) -> None:
        self.unit = build(config, torch.device("cpu")).unit
        self.context = context(config, self.unit)

    @abstractmethod
    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """See ``MapPredictor``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reopen, ()


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
