"""Checkpoints of torch's trainings: tensors and facts in one safetensors file, with their checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..core.errors import DamagedStateError
from ..core.files import replacing
from ..networks.weights import WeightsError, read_metadata, read_weights


def save_tensors(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all."""
    with replacing(path) as part:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, dict(facts))


def save_state(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, str]) -> None:
    """``save_tensors`` with a checksum of tensors and facts."""
    save_tensors(tensors, path, {**facts, "sha256": _digest(tensors, facts)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What ``save_state`` wrote. Files of version 0.1 without a checksum are read too.

    Raises DamagedStateError where the file is cut off or damaged.
    """
    damaged = DamagedStateError(path, "is cut off or damaged", "Train again without --resume")
    try:
        tensors, facts = read_weights(path), read_metadata(path)
    except WeightsError as error:
        raise damaged from error
    expected = facts.pop("sha256", None)
    if expected is not None and expected != _digest(tensors, facts):
        raise damaged
    return tensors, facts


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimiser, by names that begin with "adam."."""
    state = optimiser.state_dict()["state"]
    return {
        f"adam.{index}.{name}": value for index, values in state.items() for name, value in values.items()
    }


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Set the state of an optimiser from ``optimiser_tensors``; its settings stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in under(tensors, "adam.").items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _digest(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """SHA-256 of tensors with their names and shapes, and of facts about them."""
    digest = hashlib.sha256(json.dumps(sorted(facts.items())).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
