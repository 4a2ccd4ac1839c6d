"""Suggestions: annotations of class ``Suggested`` that this tool writes, and which of them it may remove."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ..core.files import replacing
from .project import Annotation, Suggestion

SUGGESTED = "Suggested"
"""The class of suggestions. Once a user gives one another class, it is the user's annotation."""

COLOR = (255, 140, 0)
MARK = "ce119e01-"
"""The first part of the ids of suggestions."""


def identifier(suggestion: Suggestion, image: str) -> str:
    """The id of a suggestion's annotation on the image with this id: equal boxes have equal ids."""
    rest = uuid.uuid5(uuid.NAMESPACE_OID, f"{image} {tuple(suggestion.box)}")
    return MARK + str(rest)[len(MARK) :]


def removable(annotations: Sequence[Annotation]) -> list[str]:
    """The ids of earlier suggestions that nobody has touched.

    A suggestion stays once it is unlocked, has another class, or holds an annotation that is smaller than it:
    its user has begun to work on it. (``library.groovy`` has the same rule.)
    """
    ours = [a for a in annotations if a.id.startswith(MARK) and a.path_class == SUGGESTED and a.locked]
    theirs = np.array([a.geometry for a in annotations if a.path_class != SUGGESTED], dtype=object)
    theirs = theirs[~shapely.is_empty(theirs)] if len(theirs) else theirs
    x0, y0, x1, y1 = shapely.bounds(theirs).reshape(-1, 4).T
    middle, area = shapely.points((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0) * (y1 - y0)
    return [
        one.id
        for one in ours
        if not (shapely.intersects(one.geometry, middle) & (area < shapely.area(one.geometry))).any()
    ]


def write_suggestions(
    path: Path, suggestions: Collection[Suggestion], image: str, origin: Mapping[str, Any], root: Path
) -> None:
    """Write suggestions as GeoJSON that QuPath imports, below ``root``.

    image  : the id of their image; ``origin``: its slide, written at the head of the file.
    Raises OSError, and ProjectError where a link is on the way to ``path``.
    """
    features = [json.dumps(_feature(one, image), ensure_ascii=False) for one in suggestions]
    head = json.dumps({"image": dict(origin)}, ensure_ascii=False)
    text = f'{{"type":"FeatureCollection","cellgennet":{head},"features":[\n' + ",\n".join(features)
    with replacing(path, root) as part:
        part.write_text(text + ("\n" if features else "") + "]}\n", encoding="utf-8")


def _feature(suggestion: Suggestion, image: str) -> dict[str, Any]:
    x0, y0, x1, y1 = suggestion.box
    return {
        "type": "Feature",
        "id": identifier(suggestion, image),
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]],
        },
        "properties": {
            "objectType": "annotation",
            "classification": {"name": SUGGESTED, "color": list(COLOR)},
            "isLocked": True,
            # Where QuPath keeps the description that it shows below the list of annotations.
            "metadata": {"ANNOTATION_DESCRIPTION": suggestion.reason},
        },
    }
