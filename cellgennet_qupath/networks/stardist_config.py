"""StarDist's ``config.json``, checked before StarDist builds a network from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..core.errors import TrainingError
from ..core.plain_files import NotPlainError, read_text
from .efficientnet_lite import STAGES

PLAIN = "unet"
"""StarDist's own backbone."""
ENCODER_GRID = 2
"""Pixels per prediction of a StarDist on an encoder."""
INIT_REMEDY = "Give teacher.init a folder with config.json"

_MOST_BYTES = 256 * 1024
_BOUNDS = {
    "n_rays": (3, 1024),
    "unet_n_depth": (1, 8),
    "unet_n_filter_base": (1, 512),
    "n_channel_in": (3, 3),
}


def check_stardist_folder(folder: Path, remedy: str) -> dict[str, Any]:
    """The settings of a StarDist2D model of three colours; ``remedy`` ends the message of every error.

    Raises TrainingError where the folder is not a StarDist model folder, or contains a network that this
    package cannot train: other channels, another kind, absurd sizes.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise TrainingError(folder, "is not a StarDist model folder", remedy)
    try:
        config = json.loads(read_text(file, _MOST_BYTES))
    except (OSError, NotPlainError, ValueError, RecursionError) as error:
        raise TrainingError(file, "is not StarDist's config.json, or is damaged", remedy) from error
    if not isinstance(config, dict):
        raise TrainingError(file, "is not StarDist's config.json, or is damaged", remedy)
    for name, (least, most) in _BOUNDS.items():
        value = config.get(name)
        if type(value) is not int or not least <= value <= most:
            raise TrainingError(file, f"describes a network that cannot be used (`{name}`)", remedy)
    grid = config.get("grid")
    if not isinstance(grid, list) or len(grid) != 2 or grid[0] != grid[1] or grid[0] not in (1, 2, 4):
        raise TrainingError(file, "describes a network that cannot be used (`grid`)", remedy)
    backbone = config.get("backbone", PLAIN)
    if backbone != PLAIN and (backbone not in STAGES or grid[0] != ENCODER_GRID):
        raise TrainingError(file, "describes a network that cannot be used (`backbone`)", remedy)
    return config


def backbone_of(folder: Path) -> str:
    """The backbone of a checked StarDist model folder: ``PLAIN``, or an encoder's name."""
    return str(json.loads(read_text(folder / "config.json", _MOST_BYTES)).get("backbone", PLAIN))
