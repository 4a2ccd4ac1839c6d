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


def groovy_scripts() -> Path:
    """The folder of the scripts for QuPath."""
    for folder in (_PACKAGE / "groovy", _PACKAGE.parent / "groovy"):
        if (folder / "library.groovy").is_file():
            return folder
    raise CellGenNetError(
        "QuPath scripts", "did not come with this installation", "Install the package again"
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


def named_bundle(name: Path | None) -> Path:
    """The bundle that a user means: a folder, or, by the word ``pretrained`` or none, the shipped one."""
    if name is None or name.name == str(name) == "pretrained":
        return pretrained_bundle()
    return name
