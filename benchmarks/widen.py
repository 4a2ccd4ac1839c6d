"""A bundle whose student has a wider decoder and the same maps, to train further.

    python benchmarks/widen.py START.cgn -o WIDE.cgn

Every channel of the decoder becomes two, and what reads it divides its weight between both at random, so that
they part in training. Chen et al., "Net2Net: Accelerating learning via knowledge transfer", ICLR 2016.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import torch
from safetensors.torch import save_file
from torch import Tensor

from cellgennet_qupath.bundle import STUDENT, Bundle, load_bundle, write_bundle
from cellgennet_qupath.networks.weights import read_weights

_DECODER = re.compile(r"decoder\.(\d+)\.")
SPREAD = 0.2
"""Standard deviation of the share of a weight that one of two channels gets; the mean is a half."""


def twice(weight: Tensor) -> Tensor:
    """What a layer writes, (channels, ...), written twice."""
    return torch.cat([weight, weight])


def divided(weight: Tensor, generator: torch.Generator) -> Tensor:
    """What a layer reads, (out, channels, h, w), from channels that are there twice."""
    share = 0.5 + SPREAD * torch.randn(weight.shape, generator=generator)
    return torch.cat([weight * share, weight * (1 - share)], dim=1)


def widened(state: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The weights of an encoder student with a decoder twice as wide, and the same maps."""
    generator = torch.Generator().manual_seed(seed)
    out = dict(state)
    for name, value in state.items():
        level = _DECODER.match(name)
        if name == "head.weight":
            out[name] = divided(value, generator)
        elif level and value.ndim == 4:
            # The first level's coarse features and all skip connections are the encoder's.
            from_decoder = "layers" in name or (".coarse." in name and level[1] != "0")
            out[name] = twice(divided(value, generator) if from_decoder else value)
        elif level and value.ndim == 1:
            out[name] = twice(value)
    return out


def wide_bundle(start: Bundle, output: Path, seed: int = 0) -> None:
    """Write the bundle."""
    student = start.config.student
    config = start.config.model_copy(
        update={"student": student.model_copy(update={"width": 2 * student.width})}
    )
    card = start.card.model_copy(update={"name": output.stem, "config": config.model_dump(mode="json")})
    weights = output.with_suffix(".safetensors")
    save_file({k: v.contiguous() for k, v in widened(read_weights(start.student), seed).items()}, weights)
    write_bundle(output, card, {STUDENT: weights}, None)
    weights.unlink()


@click.command()
@click.argument("start", type=click.Path(path_type=Path, exists=True))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def main(start: Path, output: Path, seed: int) -> None:
    """Write START with a decoder twice as wide."""
    wide_bundle(load_bundle(start), output, seed)


if __name__ == "__main__":
    main()
