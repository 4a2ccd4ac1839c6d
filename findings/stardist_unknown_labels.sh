#!/bin/sh
# Behaviour: stardist.fill_label_holes treats -1, which StarDist's training ignores, as an object of its own. A region
#   of known pixels that unknown ones surround is a hole in that object and is filled with -1, nuclei included.
# Versions: stardist 0.9.2, numpy 2.4.6
# Seen:
#   before [-1, 0, 5], 36 pixels of nucleus
#   after  [-1], 0 pixels of nucleus
# Way out: fill holes first, mark unknown pixels afterwards.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet stardist==0.9.2 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import sys

import numpy as np
from stardist import fill_label_holes

labels = np.full((14, 14), -1, np.int32)
labels[2:12, 2:12] = 0  # an annotated region: background
labels[4:10, 4:10] = 5  # and a nucleus in it
filled = fill_label_holes(labels)
for when, image in (("before", labels), ("after ", filled)):
    print(when, f"{np.unique(image).tolist()}, {np.count_nonzero(image == 5)} pixels of nucleus")
if np.any(filled != -1):
    sys.exit("The behaviour has changed.")
EOF
