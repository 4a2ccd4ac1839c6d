"""A bundle as a BioImage.IO model: the same maps in other runtimes, and all that the format asks for."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from cellgennet_qupath.bundle import Bundle, load_bundle, pretrained_bundle
from cellgennet_qupath.core.config import NormalisationConfig
from cellgennet_qupath.core.resources import sample_projects
from cellgennet_qupath.segmentation.bioimageio import normalise_window, write_bioimageio
from cellgennet_qupath.segmentation.model import decoding_of
from tests.helpers import invoke

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="the extra bioimageio is not installed")
    sample = sample_projects() / "quickstart" / "slides" / "slide3_nests.ome.tif"
    output = tmp_path_factory.mktemp("exported") / "m.zip"
    return write_bioimageio(load_bundle(pretrained_bundle()), sample, output)


def content(archive: Path, name: str) -> bytes:
    with zipfile.ZipFile(archive) as opened:
        return opened.read(name)


def array(archive: Path, name: str) -> NDArray[Any]:
    loaded: NDArray[Any] = np.load(io.BytesIO(content(archive, name)), allow_pickle=False)
    return loaded


def openvino_maps(network: bytes) -> Run:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(network), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: np.asarray(compiled({0: images})[0])


def onnxruntime_maps(network: bytes) -> Run:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(network, providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(["maps"], {"image": images})[0])


@pytest.mark.parametrize("runtime", [openvino_maps, onnxruntime_maps])
@pytest.mark.parametrize("shape", [(2, 64, 160), (1, 256, 256)])
def test_other_runtimes_compute_the_same_maps(
    archive: Path, runtime: Callable[[bytes], Run], shape: tuple[int, ...]
) -> None:
    from cellgennet_qupath.networks.onnx_export import torch_maps

    bundle = load_bundle(pretrained_bundle())
    number, rows, columns = shape
    tile = normalise_window(array(archive, "test_input.npy")[0], bundle.config.normalisation)
    images = np.ascontiguousarray(np.repeat(tile[..., :rows, :columns], number, axis=0))
    images[-1] = images[-1, :, ::-1]
    expected = torch_maps(bundle.student, bundle.config.student, images)
    computed = runtime(content(archive, "student.onnx"))(images)
    stride = bundle.config.student.stride
    assert computed.shape == (number, 2, rows // stride, columns // stride)
    assert np.abs(computed - expected).max() < 1e-4
    assert computed.max() > 0.5 > computed.min()


def test_the_test_tensors_belong_together(archive: Path) -> None:
    image, maps = array(archive, "test_input.npy"), array(archive, "test_output.npy")
    assert image.shape == (1, 3, 256, 256)
    assert image.dtype == np.uint8
    config = load_bundle(pretrained_bundle()).config
    assert maps.shape == (1, 2, *(256 // config.student.stride,) * 2)
    assert maps.dtype == np.float32
    normalised = normalise_window(image[0], config.normalisation)
    computed = openvino_maps(content(archive, "student.onnx"))(normalised)
    assert np.abs(computed - maps).max() < 1e-4
    assert (maps[0, 0] > 0.45).mean() > 0.05, "the sample shows nuclei"


def test_the_metadata_state_source_licence_scale_and_rules(archive: Path) -> None:
    bundle = load_bundle(pretrained_bundle())
    mpp = bundle.card.mpp
    assert mpp is not None
    described = yaml.safe_load(content(archive, "bioimageio.yaml"))
    assert described["license"] == "CC-BY-4.0"
    assert {"10.1038/s41597-024-03117-2", "10.1109/TMI.2018.2865709"} <= {
        one.get("doi") for one in described["cite"]
    }
    assert described["inputs"][0]["axes"][2] == {
        "type": "space",
        "id": "y",
        "size": {"min": 32, "step": 16},
        "unit": "micrometer",
        "scale": mpp,
    }
    assert described["outputs"][0]["axes"][3]["scale"] == bundle.config.student.stride * mpp
    weights = described["weights"]["onnx"]
    assert weights["sha256"] == hashlib.sha256(content(archive, weights["source"])).hexdigest()
    assert described["config"]["cellgennet"]["decoding"] == decoding_of(bundle).model_dump()
    readme = content(archive, "README.md").decode()
    for words in ("For research use only", "NuInsSeg", "99.8th", "exceeds 0.45", "0.3333 µm per pixel"):
        assert words in readme


def test_equal_bundles_give_equal_archives(archive: Path) -> None:
    sample = sample_projects() / "quickstart" / "slides" / "slide3_nests.ome.tif"
    again = write_bioimageio(load_bundle(pretrained_bundle()), sample, archive.with_name("again.zip"))
    assert again.read_bytes() == archive.read_bytes()


def test_normalising_a_window() -> None:
    ramp = np.broadcast_to(np.arange(201, dtype=np.uint8), (3, 2, 201))
    scaled = normalise_window(ramp, NormalisationConfig(low=10, high=90))
    assert scaled.shape == (1, 3, 2, 201)
    assert scaled[0, 0, 0, [20, 100, 180]] == pytest.approx([0, 0.5, 1], abs=1e-3)
    assert scaled.min() >= -0.5


def test_the_command_asks_for_a_licence_and_a_name(
    capsys: pytest.CaptureFixture[str], untrained: Bundle, tmp_path: Path
) -> None:
    code, out, err = invoke(capsys, "models", "export", untrained.path, "-o", tmp_path / "m.zip")
    assert (code, out) == (2, "")
    assert "does not state its licence" in err
    code, _, err = invoke(capsys, "models", "export", untrained.path, "-o", tmp_path / "m.tar")
    assert code == 2
    assert "End it in .zip" in err
    assert not (tmp_path / "m.zip").exists()


def test_without_the_package_the_command_names_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellgennet_qupath.core.extras.util.find_spec", lambda name: None)
    code, _, err = invoke(capsys, "models", "export", "pretrained", "-o", tmp_path / "m.zip")
    assert code == 1
    assert 'pip install "cellgennet-qupath[bioimageio]"' in err


def test_a_plain_u_net_of_a_user(
    tmp_path: Path, untrained: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="the extra bioimageio is not installed")
    code, out, err = invoke(
        capsys, "models", "export", untrained.path, "-o", tmp_path / "u.zip", "--licence", "CC0-1.0",
        "--author", "A Lab", "--author", "Another Lab",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "BioImage.IO" in out
    described = yaml.safe_load(content(tmp_path / "u.zip", "bioimageio.yaml"))
    assert described["license"] == "CC0-1.0"
    assert [one["name"] for one in described["authors"]] == ["A Lab", "Another Lab"]
