"""A bundle's student as a BioImage.IO model (format 0.5): one archive that other programs can run.

The archive has the network as ONNX, test tensors, the metadata and a README. Two things have no place in the
format: the scale of colours comes from the tissue of a whole slide, and nuclei are decoded from the maps by
rules. Both are described in words.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from .. import __version__
from ..bundle import INTENDED_USE, Bundle
from ..core.config import NormalisationConfig
from ..core.errors import BundleError, UsageError
from ..core.files import replacing
from ..networks.onnx_export import INPUT, OPSET, OUTPUT, onnx_of, torch_maps
from ..slides.normalisation import CLIP
from ..slides.reader import open_slide
from .bioimageio_text import readme
from .model import decoding_of

_SIDE = 256
_EPSILON = 1e-6
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of all files in the archive, so that equal bundles give equal archives."""
_SPDX = {"CC BY 4.0": "CC-BY-4.0", "CC0 1.0": "CC0-1.0", "CC BY-SA 4.0": "CC-BY-SA-4.0"}
_DOI = re.compile(r"doi:(10\.\d{4,}/[^\s,;)]+)")
_NO_NAME = re.compile(r"[^\w\- ]")
"""Characters that the format does not allow in names."""
_SOFTWARE = "https://github.com/cellgennet/cellgennet_qupath"
_METHODS = (
    ("U-Net: Ronneberger et al., MICCAI 2015", "10.1007/978-3-319-24574-4_28"),
    ("StarDist, its teacher: Schmidt et al., MICCAI 2018", "10.1007/978-3-030-00934-2_30"),
)


@dataclass(frozen=True)
class Publication:
    """What the format asks for and a card may lack.

    licence : SPDX identifier; "" for the card's own.
    authors : names; empty for a general one.
    """

    licence: str = ""
    authors: Sequence[str] = ()


def write_bioimageio(bundle: Bundle, sample: Path, output: Path, about: Publication | None = None) -> Path:
    """Write a bundle's student as a BioImage.IO model and return ``output``.

    sample : an image at least 256 samples wide and high at the model's resolution; a part becomes the test
             tensor.

    Raises BundleError where the bundle has no student, UsageError where its licence is not stated, and
    MissingExtraError.
    """
    about = about or Publication()
    licence = about.licence or _SPDX.get(bundle.card.licence, bundle.card.licence)
    if licence in ("", "unspecified"):
        raise UsageError(
            bundle.path, "does not state its licence", "Name one by its SPDX identifier: --licence CC-BY-4.0"
        )
    student, config = bundle.student, bundle.config.student
    network = onnx_of(student, config)
    image = _test_image(sample, bundle.card.mpp)
    normalised = normalise_window(image, bundle.config.normalisation)
    maps = torch_maps(student, config, normalised)
    text = readme(bundle.card, bundle.config.normalisation, decoding_of(bundle), config.stride)
    files = {
        "student.onnx": network.content,
        "test_input.npy": _npy(image[np.newaxis].astype(np.uint8)),
        "test_output.npy": _npy(maps),
        "sample.png": _png(image),
        "README.md": text.encode(),
    }
    described = _description(bundle, files, licence, about.authors, network.unit)
    files["bioimageio.yaml"] = yaml.safe_dump(described, sort_keys=False, allow_unicode=True).encode()
    try:
        with replacing(output) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), content, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise BundleError(output, f"cannot be written ({error.strerror})", "Free some space") from error
    return output


def normalise_window(image: NDArray[np.uint8], config: NormalisationConfig) -> NDArray[np.float32]:
    """The preprocessing that the metadata describe: percentiles of this window, channel by channel.

    image : uint8 (3, rows, columns). Returns float32 (1, 3, rows, columns), clipped to [-0.5, 1.5].
    """
    values = image.astype(np.float32)
    low, high = np.percentile(values, [config.low, config.high], axis=(1, 2), keepdims=True)
    scaled = (values - low) / (high - low + _EPSILON)
    clipped: NDArray[np.float32] = np.clip(scaled, *CLIP).astype(np.float32)
    return clipped[np.newaxis]


def _test_image(sample: Path, mpp: float | None) -> NDArray[np.uint8]:
    """The middle of the sample at the model's resolution: uint8 (3, 256, 256)."""
    with open_slide(sample) as reader:
        step = 1.0 if mpp is None or reader.stated_mpp is None else mpp / float(np.mean(reader.stated_mpp))
        x, y = (max(0, int(length / step - _SIDE) // 2) for length in (reader.width, reader.height))
        pixels = reader.read_grid(x, y, _SIDE, _SIDE, step)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _png(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(np.moveaxis(image, 0, -1)[..., ::-1]))[1].tobytes()


def _description(
    bundle: Bundle, files: dict[str, bytes], licence: str, authors: Sequence[str], unit: int
) -> dict[str, Any]:
    """The metadata, ``bioimageio.yaml``."""
    card = bundle.card

    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    return {
        "format_version": "0.5.3",
        "type": "model",
        "name": "CellGenNet nuclei " + _NO_NAME.sub("_", card.name)[:100],
        "description": f"Nuclei in histology ({card.learnt_from}). {INTENDED_USE}",
        "authors": [{"name": name} for name in authors] or [{"name": f"The makers of {card.name}"}],
        "cite": _citations(card.attribution),
        "license": licence,
        "timestamp": card.created,
        "version": __version__,
        "git_repo": _SOFTWARE,
        "documentation": "README.md",
        "covers": ["sample.png"],
        "tags": ["nuclei", "histopathology", "brightfield", "instance-segmentation", "unet", "2d", "qupath"],
        "inputs": [_input(bundle, unit, file("test_input.npy"))],
        "outputs": [_output(card.mpp, bundle.config.student.stride, file("test_output.npy"))],
        "weights": {"onnx": {**file("student.onnx"), "opset_version": OPSET}},
        "config": {
            "cellgennet": {
                "mpp": card.mpp,
                "normalisation": bundle.config.normalisation.model_dump(),
                "decoding": decoding_of(bundle).model_dump(),
                "stain": card.stain,
                "species": card.species,
                "intended_use": card.intended_use,
                "attribution": card.attribution,
                "bundle": f"sha256:{bundle.fingerprint}",
            }
        },
    }


def _citations(attribution: str) -> list[dict[str, str]]:
    data = [{"text": f"Training data: {doi}", "doi": doi} for doi in _DOI.findall(attribution)]
    methods = [{"text": text, "doi": doi} for text, doi in _METHODS]
    return [{"text": "CellGenNet for QuPath", "url": _SOFTWARE}, *methods, *data]


def _space(name: str, mpp: float | None, size: object) -> dict[str, Any]:
    physical = {} if mpp is None else {"unit": "micrometer", "scale": mpp}
    return {"type": "space", "id": name, "size": size, **physical}


def _input(bundle: Bundle, unit: int, test: dict[str, str]) -> dict[str, Any]:
    limits = bundle.config.normalisation
    size = {"min": 2 * unit, "step": unit}
    return {
        "id": INPUT,
        "description": "A part of a slide, RGB with 8 bits, at the model's resolution",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": ["red", "green", "blue"]},
            *(_space(name, bundle.card.mpp, size) for name in "yx"),
        ],
        "test_tensor": test,
        "data": {"type": "uint8"},
        "preprocessing": [
            {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
            {
                "id": "scale_range",
                "kwargs": {
                    "axes": ["y", "x"],
                    "min_percentile": limits.low,
                    "max_percentile": limits.high,
                    "eps": _EPSILON,
                },
            },
            {"id": "clip", "kwargs": {"min": CLIP[0], "max": CLIP[1]}},
            # bioimageio.core would otherwise return to the type of the data.
            {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
        ],
    }


def _output(mpp: float | None, stride: int, test: dict[str, str]) -> dict[str, Any]:
    grid = "the input's resolution" if stride == 1 else "half the input's resolution"
    return {
        "id": OUTPUT,
        "description": f"Maps at {grid}: probability of foreground, object probability",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": ["foreground", "object"]},
            *(
                _space(name, None if mpp is None else stride * mpp, {"tensor_id": INPUT, "axis_id": name})
                for name in "yx"
            ),
        ],
        "test_tensor": test,
        "data": {"type": "float32", "range": [0, 1]},
    }
