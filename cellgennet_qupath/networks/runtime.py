"""Runs the student: the weights of a bundle on the fastest runtime of this computer."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from importlib import util
from pathlib import Path
from typing import Literal

from ..core.config import StudentConfig
from ..core.errors import BundleError
from .device import Device, Precision, best_device
from .inference import Runtime
from .maps import MapPredictor


def load_runtime(
    weights: Path,
    config: StudentConfig,
    device: Device | Literal["auto"] = "auto",
    threads: int = 0,
    precision: Precision = "auto",
) -> MapPredictor:
    """The fastest runtime for a device: OpenVINO on processors, torch on graphics cards.

    Without OpenVINO torch is used on processors too. A pickled copy loads the weights, once per process.
    Raises BundleError, and UsageError for a device or a precision that this computer does not have.
    """
    chosen = best_device() if device == "auto" else device
    runtime: Runtime
    if chosen == "cpu" and util.find_spec("openvino") is not None:
        from .openvino_runtime import OpenVinoRuntime

        runtime = OpenVinoRuntime(weights, config, threads, precision)
    else:
        from .torch_runtime import TorchRuntime

        runtime = TorchRuntime(weights, config, chosen, threads, precision)
    runtime.reopen = partial(
        _reopened, weights.absolute(), config, device, threads, precision, _checksum(weights)
    )
    return runtime


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@lru_cache(maxsize=2)
def _reopened(
    weights: Path,
    config: StudentConfig,
    device: Device | Literal["auto"],
    threads: int,
    precision: Precision,
    checksum: str,
) -> MapPredictor:
    """A runtime in another process, of the same weights."""
    if not weights.is_file():
        raise BundleError(weights, "is missing", "Keep bundles in a folder that all workers can read")
    if _checksum(weights) != checksum:
        raise BundleError(weights, "is not the same file for all workers", "Use one bundle for all of them")
    return load_runtime(weights, config, device, threads, precision)
