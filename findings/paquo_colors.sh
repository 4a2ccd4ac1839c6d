#!/bin/sh
# Behaviour: importing paquo.colors raises ValueError on a computer without QuPath, although a colour object needs no Java.
# Versions: paquo 0.9.0
# Seen: ValueError: no valid qupath installation found
# Way out: import paquo's modules only after QuPath was found; compute QuPath's packed colours without it.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet paquo==0.9.0 "setuptools<81"
cd "$work"
# As if no QuPath were installed.
unset PAQUO_QUPATH_DIR
PAQUO_QUPATH_SEARCH_DIRS="[]" env/bin/python - <<'EOF'
import sys

import paquo

try:
    import paquo.colors
except ValueError as error:
    print(f"{type(error).__name__}: {error}")
    if "qupath" not in str(error).lower():
        sys.exit("The behaviour has changed.")
else:
    sys.exit("The behaviour has changed.")
EOF
