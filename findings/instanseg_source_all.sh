#!/bin/sh
# Behaviour: InstanSeg's training keeps no image with the default of its option -source, "all": the text is compared with the
#   list ["all"], so an image is only kept if the name of its data set is a part of the word "all".
# Documentation: "Which datasets to use for training. Input is 'all' or a list of datasets (e.g. [TNBC_2018,LyNSeC])".
# Versions: instanseg-torch 0.1.2, pandas 2.3.3, torch 2.13.0
# Seen: of two images 0 with "all" (the assertion "No images in the dataset meet the requirements"), 2 with "[all]"
# Way out: -source "[all]", or the names in brackets.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0
"$work/env/bin/pip" install --quiet instanseg-torch==0.1.2 pandas==2.3.3
"$work/env/bin/python" - <<'EOF'
import contextlib
import io
import sys

import numpy as np
from instanseg.scripts.train import parser
from instanseg.utils.data_loader import _read_images_from_pth

image, labels = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.int32)
items = [{"parent_dataset": "mine", "image": image, "nucleus_masks": labels} for _ in range(2)]


def kept(source):
    """How many training images are kept; sources are read from the option as train.py does it."""
    args = parser.parse_args([] if source is None else ["-source", source])
    if "[" in args.source_dataset:
        args.source_dataset = args.source_dataset.strip("[]").lower().split(",")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            images = _read_images_from_pth(args=args, sets=["Train"], complete_dataset={"Train": items})[0]
    except AssertionError:
        return 0
    return len(images)


default, everything = kept(None), kept("[all]")
print(f"kept with the default {default}, with [all] {everything}")
if (default, everything) != (0, 2):
    sys.exit("The behaviour has changed.")
EOF
