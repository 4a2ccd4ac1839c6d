"""The process in which StarDist runs: ``python -m cellgennet_qupath.networks.stardist_worker``.

Reads requests on stdin and answers each on stdout (``messages``), until stdin ends: with its parent.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, BinaryIO

from ..core.config import TeacherConfig
from ..core.environment import environment_error
from ..core.errors import CellGenNetError
from .messages import Message, receive, send
from .stardist import StarDistModel

_CALLS = frozenset(
    {
        "prepare_training",
        "init_radius",
        "load_network",
        "network_arrays",
        "train_step",
        "validation_loss",
        "predict",
        "instances",
        "save",
        "save_weights",
        "load_weights",
        "keep_best",
        "use_best",
        "weights",
        "save_state",
        "load_state",
    }
)
"""The methods of ``StarDistModel`` that may be called from outside."""


def main() -> None:
    """Serve one model until stdin ends."""
    # Ctrl-C reaches every process of a terminal. The parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = _pipes()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    model: StarDistModel | None = None
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        call, arguments = request.values["call"], request.values["arguments"]
        try:
            if call == "open":
                model = _opened(**arguments)
                shape = {name: getattr(model, name) for name in ("grid", "rays", "backbone", "filters")}
                answer = Message({"value": shape})
            else:
                answer = _called(model, call, arguments | request.arrays)
        except CellGenNetError as error:
            parts = (type(error).__name__, error.subject, error.reason, error.remedy)
            answer = Message({"error": parts})
        except Exception as error:
            known = environment_error(error)
            if known is not None:
                answer = Message({"error": (type(known).__name__, known.subject, known.reason, known.remedy)})
            else:
                kind = type(error).__name__
                answer = Message({"failure": [f"{kind}: {error}", traceback.format_exc()]})
        try:
            send(answers, answer)
        except OSError:  # the parent has ended
            return


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Private copies of stdin and stdout. What anything else prints goes to stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


def _opened(folder: str, config: dict[str, Any] | None, threads: int, seed: int) -> StarDistModel:
    settings = None if config is None else TeacherConfig.model_validate(config)
    return StarDistModel(Path(folder), settings, threads, seed)


def _called(model: StarDistModel | None, call: str, arguments: dict[str, Any]) -> Message:
    """The answer of a method: several arrays by their numbers, or one plain value."""
    if model is None or call not in _CALLS:
        raise ValueError(f"no such call: {call}")
    result = getattr(model, call)(**arguments)
    if isinstance(result, tuple | list):
        return Message(arrays={str(number): array for number, array in enumerate(result)})
    return Message({"value": result})


if __name__ == "__main__":
    main()
