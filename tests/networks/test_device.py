"""Which arithmetic a computer has, and what is computed in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cellgennet_qupath.core.errors import UsageError
from cellgennet_qupath.networks import device
from cellgennet_qupath.networks.device import bfloat16_pays, in_bfloat16
from cellgennet_qupath.networks.runtime import load_runtime
from tests.networks.test_runtime import UNET, pixels, weights


def test_the_processor_has_what_torch_finds() -> None:
    units = torch.cpu.get_capabilities()
    assert bfloat16_pays("cpu") == any(units.get(unit, False) for unit in ("avx512_bf16", "amx_bf16"))


@pytest.mark.parametrize("flags", ["sse4_2 avx512f avx512_bf16", "amx_bf16 avx2", "avx512f avx512_bf16x"])
def test_the_flags_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags}\n", encoding="utf-8")
    monkeypatch.setattr(device, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert bfloat16_pays("cpu") == (not flags.endswith("x"))


def test_a_precision_that_the_device_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(device, "bfloat16_pays", lambda name, has=has: has)
        assert in_bfloat16("cpu", "auto") is has
        assert in_bfloat16("cpu", "f32") is False
    with pytest.raises(UsageError, match="--precision bf16"):
        in_bfloat16("cpu", "bf16")


def test_a_network_computes_in_the_precision_asked_for(tmp_path: Path) -> None:
    file = weights(tmp_path, UNET)
    exact = load_runtime(file, UNET, "cpu", precision="f32")
    assert exact.device.endswith("float32")
    if not bfloat16_pays("cpu"):
        pytest.skip("this processor has no 16-bit arithmetic")
    half = load_runtime(file, UNET, "cpu", precision="bf16")
    assert half.device == load_runtime(file, UNET, "cpu").device
    assert half.device.endswith("bfloat16")
    difference = np.abs(half.predict(pixels(64)) - exact.predict(pixels(64)))
    assert 0 < difference.max() < 0.05
