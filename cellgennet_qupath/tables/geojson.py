"""GeoJSON that QuPath imports."""

from __future__ import annotations

import json
from pathlib import Path

from ..qupath.formats.detections import feature_lines
from .cells import writable
from .spool import Export
from .text import text_file


def write_geojson(file: Path, export: Export, compressed: bool = False) -> int:
    """All detections as GeoJSON; each feature names its image, to whose pixels its coordinates refer."""
    count = 0
    with text_file(file, compressed) as text:
        text.write('{"type":"FeatureCollection","features":[\n')
        for entry, chunk in export.chunks:
            named = {"image": entry.name, **export.extra.get(entry.id, {})}
            pairs = ",".join(f"{_text(name)}:{_text(value)}" for name, value in named.items())
            for line in feature_lines(chunk.nuclei):
                text.write(",\n" if count else "")
                text.write(line.replace('"properties":{', f'"properties":{{{pairs},', 1))
                count += 1
        text.write("\n]}\n")
    return count


def _text(value: str) -> str:
    return json.dumps(writable(value), ensure_ascii=False)
