"""Where what comes with the package lies, in a checkout as in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from .errors import BundleError, CellGenNetError

_PACKAGE = Path(__file__).resolve().parent


def sample_projects() -> Path:
    """The folder of the sample project and its truth."""
    for folder in (_PACKAGE / "sample_projects", _PACKAGE.parent / "sample_projects"):
        if (folder / "quickstart").is_dir():
            return folder
    raise CellGenNetError(
        "sample project", "did not come with this installation", "Install the package again"
    )


def pretrained_bundle() -> Path:
    """The model bundle that is used where none is named."""
    found = sorted((_PACKAGE / "pretrained").glob("*.cgn"))
    if not found:
        raise BundleError(
            "pretrained model",
            "does not come with this version",
            "Train one (`cellgennet train`) and name it with -m",
        )
    return found[-1]
