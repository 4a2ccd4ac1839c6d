#!/bin/sh
# Behaviour: keras.layers.UpSampling2D with interpolation="bilinear" predicts the first image, and fails with the next one
#   that has another height or width, although the model's input leaves both open. interpolation="nearest" does not.
# Documentation: the layer's page names no such limit; predict() is documented for inputs of varying size.
# Versions: keras 3.15.1, tensorflow-cpu 2.21.0
# Seen: 8 x 8 then 12 x 8: nearest gives 16 x 16 and 24 x 16; bilinear gives 16 x 16, then OperatorNotAllowedInGraphError
# Way out: a layer of one's own around tf.image.resize(x, 2 * tf.shape(x)[1:3]).
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet keras==3.15.1 tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/env/bin/python" - 2>/dev/null <<'EOF'
import sys

import keras
import numpy as np


def sizes(interpolation):
    """What a model of one enlarging layer makes of two images of different height."""
    image = keras.Input((None, None, 3))
    model = keras.Model(image, keras.layers.UpSampling2D(2, interpolation=interpolation)(image))
    found = []
    for rows in (8, 12):
        try:
            found.append(model.predict(np.zeros((1, rows, 8, 3)), verbose=0).shape[1:3])
        except Exception as error:
            found.append(type(error).__name__)
    return found


nearest, bilinear = sizes("nearest"), sizes("bilinear")
print(f"nearest {nearest}, bilinear {bilinear}")
if nearest != [(16, 16), (24, 16)] or bilinear != [(16, 16), "OperatorNotAllowedInGraphError"]:
    sys.exit("The behaviour has changed.")
EOF
