#!/bin/sh
# Behaviour: (1) tiffslide.read_region pads with black beyond the slide's right and lower edge, where glass is white and
#   OpenSlide pads with transparent pixels. (2) The pixel size in the OME-XML of an OME-TIFF is not read: tiffslide.mpp-x
#   is missing.
# Documentation: tiffslide presents itself as a drop-in replacement of openslide-python.
# Versions: tiffslide 3.0.1, tifffile 2026.3.3, numpy 2.4.6
# Seen:
#   inside [255, 255, 255], beyond the edge [0, 0, 0]
#   PhysicalSizeX 0.25 in the file, tiffslide.mpp-x None
# Way out: clip regions to the slide and pad with white; read PhysicalSizeX from the OME-XML.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet tiffslide==3.0.1 tifffile==2026.3.3 numpy==2.4.6
cd "$work"
env/bin/python - <<'EOF'
import sys

import numpy as np
import tifffile
from tiffslide import TiffSlide

metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
white = np.full((256, 256, 3), 255, np.uint8)
tifffile.imwrite("white.ome.tif", white, ome=True, photometric="rgb", tile=(128, 128), metadata=metadata)
with TiffSlide("white.ome.tif") as slide:
    region = np.asarray(slide.read_region((192, 192), 0, (128, 128), as_array=True))
    inside, beyond = region[0, 0].tolist(), region[-1, -1].tolist()
    size = slide.properties.get("tiffslide.mpp-x")
print(f"inside {inside}, beyond the edge {beyond}")
print(f"PhysicalSizeX 0.25 in the file, tiffslide.mpp-x {size}")
if (inside, beyond, size) != ([255] * 3, [0] * 3, None):
    sys.exit("The behaviour has changed.")
EOF
