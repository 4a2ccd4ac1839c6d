"""The devices of the student, and their arithmetic; torch is loaded only where it must be asked."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal

from ..core.errors import UsageError

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["auto", "f32", "bf16"]

_GRAPHICS = ("nvidiactl", "nvidia0", "nvhost-gpu", "dxg", "kfd")
"""Names in /dev of the drivers that torch's builds for graphics cards use on Linux (CUDA, WSL, ROCm)."""
_UNITS = ("avx512_bf16", "amx_bf16")
_CPUINFO = Path("/proc/cpuinfo")


def best_device() -> Device:
    """The fastest device that torch finds: cuda, mps or cpu."""
    if not _may_have_graphics():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def _may_have_graphics() -> bool:
    """Whether torch could find a graphics card; False only where it certainly cannot."""
    try:
        build = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return True
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if build.endswith("+cpu"):
        return False
    return sys.platform != "linux" or any(Path("/dev", name).exists() for name in _GRAPHICS)


def set_threads(threads: int) -> None:
    """Use this many CPU threads in torch; 0 leaves torch's own choice."""
    if threads:
        import torch

        torch.set_num_threads(threads)


def bfloat16_pays(device: str) -> bool:
    """Whether a device has hardware for 16-bit arithmetic, so that it is faster."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_bf16_supported())
    if device == "cpu":
        return _processor_has_bfloat16()
    return False


def in_bfloat16(device: str, precision: Precision) -> bool:
    """Whether to compute in bfloat16 on a device.

    Raises UsageError where it is asked for and the device does not have it.
    """
    if precision == "f32":
        return False
    has = bfloat16_pays(device)
    if precision == "bf16" and not has:
        raise UsageError(
            "--precision bf16", "this computer has no 16-bit arithmetic", "Leave the option out, or use f32"
        )
    return has


def _processor_has_bfloat16() -> bool:
    if sys.platform == "linux" and _CPUINFO.is_file() and platform.machine() in ("x86_64", "i686"):
        flags = next((line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")), "")
        return any(unit in flags.split() for unit in _UNITS)
    import torch

    return any(torch.cpu.get_capabilities().get(unit, False) for unit in _UNITS)


def describe_device() -> str:
    """The device and arithmetic in use, for messages."""
    device = best_device()
    name: str = device
    if device == "cuda":
        import torch

        name = torch.cuda.get_device_name()
    return f"{name}, {'16-bit (bfloat16)' if bfloat16_pays(device) else '32-bit'} arithmetic"
