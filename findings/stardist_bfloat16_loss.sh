#!/bin/sh
# Behaviour: StarDist trained with TensorFlow's rewrite to bfloat16 (option auto_mixed_precision_onednn_bfloat16) has a loss
#   of NaN as soon as one probability rounds to 0 or 1 in 16 bits, and the step makes all weights NaN. StarDist masks
#   probabilities before Keras' cross-entropy, which then clips them to [1e-7, 1 - 1e-7] for its logarithms; the rewrite
#   takes the clipping into 16 bits, where 1 - 1e-7 is 1.
# Documentation: the rewrite is described as keeping numerically dangerous operations in 32 bits.
# Versions: stardist 0.9.2, keras 3.15.1, tensorflow-cpu 2.21.0; a processor with bfloat16 (AVX-512 BF16 or AMX), else the
#   rewrite does nothing
# Seen: all probabilities at a logit of 5, then 10: in 32 bits finite finite, rewritten finite nan; rewritten with the
#   operations below kept in 32 bits finite finite.
# Way out: TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD=Minimum,Maximum,ClipByValue,Sub,Log
set -eu
if ! grep -q -e avx512_bf16 -e amx_bf16 /proc/cpuinfo; then
    echo "This processor has no bfloat16: not run."
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/env"
"$work/env/bin/pip" install --quiet stardist==0.9.2 keras==3.15.1 tensorflow-cpu==2.21.0
cat > "$work/losses.py" <<'EOF'
import sys

import keras
import numpy as np
import tensorflow as tf
from stardist.models import Config2D, StarDist2D

tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": sys.argv[1] == "16"})
config = Config2D(n_rays=8, grid=(2, 2), unet_n_depth=2, unet_n_filter_base=16, train_tensorboard=False)
model = StarDist2D(config, name="model", basedir=sys.argv[2])
model.prepare_for_training(keras.optimizers.SGD(0.0))
random = np.random.default_rng(0)
image = random.random((2, 96, 96, 1), np.float32)
nuclei = (random.random((2, 48, 48, 1)) < 0.3).astype(np.float32)
distances = np.concatenate([np.full((2, 48, 48, 8), 5, np.float32), nuclei], axis=-1)
last = model.keras_model.get_layer("prob")
for logit in (5, 10):
    last.set_weights([0 * last.get_weights()[0], np.array([logit], np.float32)])
    told = model.keras_model.train_on_batch(image, [nuclei, distances], return_dict=True)
    print("seen:", "finite" if np.isfinite(told["loss"]) else "nan")
EOF
kept=TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD=Minimum,Maximum,ClipByValue,Sub,Log
export TF_CPP_MIN_LOG_LEVEL=3
plain=$("$work/env/bin/python" "$work/losses.py" 32 "$work" 2>/dev/null | sed -n 's/^seen: //p' | xargs)
rewritten=$("$work/env/bin/python" "$work/losses.py" 16 "$work" 2>/dev/null | sed -n 's/^seen: //p' | xargs)
mended=$(env "$kept" "$work/env/bin/python" "$work/losses.py" 16 "$work" 2>/dev/null | sed -n 's/^seen: //p' | xargs)
echo "32 bits: $plain; rewritten: $rewritten; rewritten, some operations in 32 bits: $mended"
if [ "$plain / $rewritten / $mended" != "finite finite / finite nan / finite finite" ]; then
    echo "The behaviour has changed."
    exit 1
fi
