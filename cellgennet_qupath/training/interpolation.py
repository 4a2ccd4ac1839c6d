"""Weights between a start and what training made of it.

Interpolating the weights of a pretrained network and its fine-tuned copy keeps what both are good at:
Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from ..core.errors import TrainingError
from ..core.files import replacing
from ..networks.weights import read_weights

STANDARD = 0.5
"""Half-way: the best single share on tissue that a start had not seen (docs/results.md)."""
SHARES = (0.25, 0.75, 1.0)
"""What may be chosen instead, where validation shows that it is better."""


def write_interpolated(start: Path, trained: Path, share: float, file: Path) -> None:
    """Write the weights (1 - share) * start + share * trained, safetensors of equal names and shapes.

    Statistics of normalisation layers are interpolated too. Raises TrainingError where the files differ in
    their tensors, WeightsError where one cannot be read.
    """
    first, second = read_weights(start), read_weights(trained)
    shapes = [{name: tensor.shape for name, tensor in one.items()} for one in (first, second)]
    if shapes[0] != shapes[1]:
        raise TrainingError(start, "contains a student of another shape", "Start from another bundle")
    mixed = {
        name: tensor.lerp(second[name], share).contiguous() if tensor.is_floating_point() else second[name]
        for name, tensor in first.items()
    }
    with replacing(file) as part:
        save_file(mixed, part)
