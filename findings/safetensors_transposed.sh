#!/bin/sh
# Behaviour: safetensors.numpy.save_file writes the memory of an array as it is, but records the shape of the array.
#   A transposed array (Fortran order) comes back with its elements in the wrong order. There is no warning.
# Versions: safetensors 0.8.0, numpy 2.4.6
# Seen:
#   saved  [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
#   loaded [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
# Way out: np.ascontiguousarray before saving, or safetensors.torch, which refuses such tensors.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cd "$work"
env/bin/python - <<'EOF'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

saved = np.arange(6, dtype=np.float32).reshape(2, 3).T
save_file({"a": saved}, "a.safetensors")
loaded = load_file("a.safetensors")["a"]
print("saved ", saved.tolist())
print("loaded", loaded.tolist())
if loaded.tolist() != [[0, 1], [2, 3], [4, 5]]:
    sys.exit("The behaviour has changed.")
save_file({"a": np.ascontiguousarray(saved)}, "b.safetensors")
assert np.array_equal(load_file("b.safetensors")["a"], saved)
EOF
