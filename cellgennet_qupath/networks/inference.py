"""What the student's runtimes have in common: geometry, copies for other processes. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.config import StudentConfig
from . import geometry


class Runtime(ABC):
    """A runtime of the student; see ``MapPredictor`` for the meaning of the attributes.

    reopen : makes a copy of it in another process; set by ``load_runtime``.
    """

    streams = 1
    device: str
    reopen: Callable[[], Any]

    def __init__(self, config: StudentConfig) -> None:
        self.unit = geometry.unit(config)
        self.context = geometry.context(config)
        self.stride = config.stride

    @abstractmethod
    def predict(self, images: NDArray[np.float32], rim: int = 0) -> NDArray[np.float32]:
        """See ``MapPredictor``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reopen, ()
