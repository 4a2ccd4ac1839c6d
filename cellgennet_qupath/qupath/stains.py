"""The stains of an image: those set in QuPath, or QuPath's defaults for its type."""

from __future__ import annotations

import numpy as np

from .project import StainVectors

_HEMATOXYLIN = (0.65, 0.70, 0.29)
_EOSIN = (0.2159, 0.8012, 0.5581)
_DAB = (0.27, 0.57, 0.78)
_FLATTEST = 1e-3


def _unit(vector: tuple[float, float, float]) -> tuple[float, float, float]:
    r, g, b = (np.array(vector) / np.linalg.norm(vector)).tolist()
    return r, g, b


H_E = StainVectors(("Hematoxylin", "Eosin"), (_unit(_HEMATOXYLIN), _unit(_EOSIN)))
H_DAB = StainVectors(("Hematoxylin", "DAB"), (_unit(_HEMATOXYLIN), _unit(_DAB)))

_DEFAULTS = {"BRIGHTFIELD_H_E": H_E, "BRIGHTFIELD_H_DAB": H_DAB, "BRIGHTFIELD_OTHER": H_DAB}
"""The defaults of QuPath 0.5 to 0.7 (``ImageData``)."""


def stains_of(image_type: str, set_in_qupath: StainVectors | None) -> StainVectors | None:
    """The stains of an image by its type (QuPath's name, "BRIGHTFIELD_H_E" and so on).

    None for fluorescence, and for an image whose type was never set: its stains are unknown.
    """
    if image_type not in _DEFAULTS:
        return None
    return set_in_qupath or _DEFAULTS[image_type]


def can_be_separated(stains: StainVectors) -> bool:
    """Whether every colour is a unique mixture of the stains: no two vectors alike, no three in a plane."""
    vectors = np.array(stains.vectors, np.float64)
    if not np.isfinite(vectors).all() or min(stains.background) <= 0:
        return False
    return bool(np.linalg.svd(vectors, compute_uv=False)[-1] > _FLATTEST)
