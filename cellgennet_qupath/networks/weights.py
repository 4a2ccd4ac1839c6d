"""Weights on disk (safetensors): read with all claims of the header checked against the file's size first."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

_MOST_HEADER = 4 * 1024**2
_MOST_FILE = 8 * 1024**3
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class WeightsError(ValueError):
    """A file that is not a whole safetensors file; the message says why."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name. Raises WeightsError."""
    read_header(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError, RuntimeError, ValueError, LookupError, OverflowError) as error:
        raise WeightsError(f"cannot be read as weights ({error})") from error


def read_metadata(path: Path) -> dict[str, str]:
    """The texts that were saved with the tensors. Raises WeightsError."""
    metadata = read_header(path).get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise WeightsError("has a damaged header")
    return metadata


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, from the header alone. Raises WeightsError."""
    return {name: tuple(tensor["shape"]) for name, tensor in read_header(path).items() if name[:2] != "__"}


def read_header(path: Path) -> dict[str, Any]:
    """The header, whose lengths and offsets are known to agree with the file. Raises WeightsError.

    Format: 8 bytes, little endian, length n of the header; n bytes of JSON; the tensors, without gaps.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_FILE or not path.is_file():
            raise WeightsError("is larger than any weights, or not a file")
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MOST_HEADER):
                raise WeightsError("is cut off or damaged")
            header = json.loads(file.read(length).decode("utf-8"))
        _check_header(header, size - 8 - length)
    except WeightsError:
        raise
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise WeightsError(f"is cut off or damaged ({type(error).__name__})") from error
    return header  # type: ignore[no-any-return]


def _check_header(header: Any, content: int) -> None:
    """Every tensor lies within the content and has the length of its shape."""
    if not isinstance(header, dict):
        raise WeightsError("has a damaged header")
    end = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        first, last = tensor["data_offsets"]
        length = math.prod(tensor["shape"]) * _BYTES[tensor["dtype"]]
        if not 0 <= first <= last <= content or last - first != length or min(tensor["shape"], default=0) < 0:
            raise WeightsError("is cut off or damaged")
        end = max(end, last)
    if end != content:
        raise WeightsError("is cut off or damaged")
