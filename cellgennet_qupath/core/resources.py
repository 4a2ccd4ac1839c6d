"""Where what comes with the package lies, in a checkout as in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from .errors import BundleError, CellGenNetError

_PACKAGE = Path(__file__).resolve().parents[1]


def sample_projects() -> Path:
    """The folder of the sample project and its truth."""
    return _folder("sample_projects", "quickstart")


def groovy_scripts() -> Path:
    """The folder of the scripts for QuPath."""
    return _folder("groovy", "library.groovy")


def _folder(name: str, held: str) -> Path:
    """A folder of the wheel, or of the checkout, that holds something."""
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if (folder / held).exists():
            return folder
    raise CellGenNetError(name, "did not come with this installation", "Install the package again")


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
