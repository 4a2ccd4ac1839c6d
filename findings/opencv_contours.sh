#!/bin/sh
# Behaviour: cv2.findContours returns the centres of an object's border pixels. The polygon through them is half a pixel
#   too small on each side: a square of 4 x 4 pixels has area 9, and a single pixel or a line has none.
# Documentation: cv2.contourArea says that its value can differ from the number of pixels, not by how much or why.
# Versions: opencv-python-headless 5.0.0.93, numpy 2.4.6
# Seen: 16 pixels, contour area 9.0, corners [[2, 2], [2, 5], [5, 5], [5, 2]]
# Way out: trace pixel edges, as QuPath, StarDist's ROIs and rasterio.features.shapes do.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==2.4.6 opencv-python-headless==5.0.0.93
"$work/env/bin/python" - <<'EOF'
import sys

import cv2
import numpy as np

mask = np.zeros((8, 8), np.uint8)
mask[2:6, 2:6] = 1
contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
area, corners = cv2.contourArea(contours[0]), contours[0][:, 0].tolist()
print(f"{mask.sum()} pixels, contour area {area}, corners {corners}")
if (area, sorted(corners)) != (9.0, [[2, 2], [2, 5], [5, 2], [5, 5]]):
    sys.exit("The behaviour has changed.")
EOF
