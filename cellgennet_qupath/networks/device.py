"""The devices that torch can use on this computer."""

from __future__ import annotations

from typing import Literal

import torch

Device = Literal["cpu", "cuda", "mps"]


def best_device() -> Device:
    """The fastest device that torch finds: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def set_threads(threads: int) -> None:
    """Use this many CPU threads; 0 leaves torch's own choice."""
    if threads:
        torch.set_num_threads(threads)


def bfloat16_pays(device: str) -> bool:
    """Whether a device has hardware for 16-bit arithmetic, so that it is faster."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device == "cpu":
        return any(torch.cpu.get_capabilities().get(unit, False) for unit in ("avx512_bf16", "amx_bf16"))
    return False


def describe_device() -> str:
    """The device and arithmetic in use, for messages."""
    device = best_device()
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return f"{name}, {'16-bit (bfloat16)' if bfloat16_pays(device) else '32-bit'} arithmetic"
