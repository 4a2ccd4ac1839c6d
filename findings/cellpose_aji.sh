#!/bin/sh
# Behaviour: cellpose.metrics.aggregated_jaccard_index is not the aggregated Jaccard index of Kumar et al. (2017). It pairs
#   objects one to one and divides by the union of the two foregrounds, so a false object that lies on a true one costs
#   nothing; Kumar's pairs each true object with its best partner and adds the area of every unused object.
# Documentation: the docstring gives "intersection of all matched masks / union of all masks", and no source or warning.
# Versions: cellpose 3.1.1.2, torch 2.13.0
# Seen: one true square, predicted as two parts of 10/16 and 6/16 of it: 0.625 by cellpose, 0.455 by Kumar et al.
# Way out: do not compare an AJI of cellpose with one of another program.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0
"$work/env/bin/pip" install --quiet cellpose==3.1.1.2
"$work/env/bin/python" - <<'EOF'
import sys

import numpy as np
from cellpose.metrics import aggregated_jaccard_index


def kumar(true, predicted):
    used, shared, union = set(), 0, 0
    for t in range(1, true.max() + 1):
        ious = {p: np.sum((true == t) & (predicted == p)) / np.sum((true == t) | (predicted == p))
                for p in range(1, predicted.max() + 1)}
        best = max(ious, key=ious.get)
        used.add(best)
        shared += np.sum((true == t) & (predicted == best))
        union += np.sum((true == t) | (predicted == best))
    return float(shared / (union + sum(np.sum(predicted == p) for p in range(1, predicted.max() + 1) if p not in used)))


true = np.zeros((20, 40), np.int32)
true[2:18, 2:18] = 1
predicted = np.zeros_like(true)
predicted[2:18, 2:12], predicted[2:18, 12:18] = 1, 2
theirs, ours = float(aggregated_jaccard_index([true], [predicted])[0]), kumar(true, predicted)
print(f"cellpose {theirs:.3f}, Kumar et al. {ours:.3f}")
if abs(theirs - ours) < 0.05:
    sys.exit("The behaviour has changed.")
EOF
