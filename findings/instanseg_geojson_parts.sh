#!/bin/sh
# Behaviour: InstanSeg's GeoJSON (save_geojson, instanseg.utils.utils.labels_to_features) has a feature for each part of a
#   nucleus that is connected by edges: one whose parts meet at a corner becomes two objects, so that QuPath counts more
#   nuclei than the label image has. include_labels=True writes the position of the feature, not the label.
# Documentation: the function "creates a GeoJSON FeatureCollection from a labeled image"; nothing about parts.
# Versions: instanseg-torch 0.1.2, rasterio 1.4.3, geojson 3.2.0, torch 2.13.0
# Seen: labels 4 (two squares that meet at a corner) and 9 (one square): 3 features, "Label" 0, 1 and 2
# Way out: connectivity=8 gives 2 features (of which the first outline touches itself); or make one MultiPolygon per label.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0
"$work/env/bin/pip" install --quiet instanseg-torch==0.1.2 rasterio==1.4.3 geojson==3.2.0 2>/dev/null
"$work/env/bin/python" - <<'EOF'
import sys

import numpy as np
from instanseg.utils.utils import labels_to_features

labels = np.zeros((20, 20), np.int32)
labels[2:6, 2:6] = labels[6:10, 6:10] = 4
labels[12:16, 12:16] = 9


def written(connectivity):
    """The values of "Label" of the features."""
    features = labels_to_features(labels, "detection", connectivity, include_labels=True)["features"]
    return [feature["properties"]["measurements"][0]["value"] for feature in features]


default, by_corners = written(4), written(8)
print(f"nuclei {len(np.unique(labels)) - 1}; features {default}, with connectivity 8 {by_corners}")
if default != [0, 1, 2] or by_corners != [0, 1]:
    sys.exit("The behaviour has changed.")
EOF
