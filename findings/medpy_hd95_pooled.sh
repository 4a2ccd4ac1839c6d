#!/bin/sh
# Behaviour: medpy.metric.binary.hd95 takes one 95th percentile over the distances of both directions together. The usual
#   definition takes the percentile of each direction and the larger of the two: an outline that one mask has in addition
#   can vanish among the many samples of the other direction.
# Documentation: its docstring says "95th percentile of the (symmetric) Hausdorff Distance", not over which distances.
# Versions: medpy 0.5.2, numpy 1.26.4, scipy 1.15.3
# Seen: a square with a speck 40 px away against the square alone: 0.0; the larger of both directions: 44.7
# Way out: compute the two directions apart and take the larger percentile.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet numpy==1.26.4 scipy==1.15.3 medpy==0.5.2
"$work/env/bin/python" - <<'EOF'
import sys

import numpy as np
from medpy.metric.binary import hd95
from scipy import ndimage

one = np.zeros((160, 160), bool)
one[10:90, 10:90] = True
other = one.copy()
other[120:126, 120:126] = True


def border(mask):
    return mask & ~ndimage.binary_erosion(mask)


def directed(a, b):
    return np.percentile(ndimage.distance_transform_edt(~border(b))[border(a)], 95)


pooled, larger = float(hd95(other, one)), float(max(directed(one, other), directed(other, one)))
print(f"medpy {pooled:.1f}, larger of both directions {larger:.1f}")
if not pooled < 1 < 30 < larger:
    sys.exit("The behaviour has changed.")
EOF
