"""StarDist in a process of its own, used like an object.

TensorFlow and torch do not share a process: with CUDA builds of both, whichever is loaded second can crash.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..core import errors
from ..core.config import Architecture, TeacherConfig
from ..core.errors import CellGenNetError, TrainingError
from ..core.extras import require
from .messages import Message, receive, send

_WORKER = f"{__package__}.stardist_worker"
_PATIENCE = 10.0
"""Seconds that the process has to end by itself once it is no longer needed."""
_TAIL = 30
"""Lines of the process' log that are shown after a crash."""


@dataclass(frozen=True)
class StarDistBatch:
    """Patches with StarDist's targets on its grid, float32; unknown pixels have a probability of -1.

    image : (n, rows, columns, 3), normalised.
    prob  : (n, rows / grid, columns / grid, 1).
    dist  : (n, rows / grid, columns / grid, rays + 1): distances in pixels, then the weight of the pixel.
    """

    image: NDArray[np.float32]
    prob: NDArray[np.float32]
    dist: NDArray[np.float32]


@dataclass(frozen=True)
class StarDistMaps:
    """A prediction on StarDist's grid: prob (rows, columns), dist (rows, columns, rays), float32."""

    prob: NDArray[np.float32]
    dist: NDArray[np.float32]


class WorkerFailure(RuntimeError):
    """An unexpected error in the process; its traceback is the cause."""


class StarDistProcess:
    """A StarDist2D model in a folder of StarDist's own layout, in a process that ends with this object.

    Use it in a ``with`` block. Every method raises TrainingError if the process has ended (killed, or out
    of memory), and any CellGenNetError that was raised in it.
    """

    state_name = "teacher_state.npz"
    """The file of ``save_state``."""

    def __init__(
        self, folder: Path, config: TeacherConfig | None = None, threads: int = 0, seed: int = 0
    ) -> None:
        """Open the model in ``folder``, or build a new one there from ``config`` and ``seed``.

        threads : processor threads; 0 leaves TensorFlow's own choice.
        Raises MissingExtraError without StarDist and TensorFlow, TrainingError for a folder without model.
        """
        require("train", "StarDist")
        self.folder = folder
        log = tempfile.TemporaryFile()  # noqa: SIM115
        process = _start(log)
        self._process, self._log = process, log
        self._requests, self._answers = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        self._end = weakref.finalize(self, _end, process, log)
        settings = None if config is None else config.model_dump(mode="json")
        try:
            opened = self._value(
                "open", folder=str(folder.absolute()), config=settings, threads=threads, seed=seed
            )
        except BaseException:
            self.close()
            raise
        self.grid = int(opened["grid"])
        self.rays = int(opened["rays"])
        self.backbone = cast(Architecture, opened["backbone"])
        self.filters = int(opened["filters"])

    def __enter__(self) -> StarDistProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process and wait for its end. A second call does nothing."""
        self._end()

    def prepare_training(self, learning_rate: float) -> None:
        """Compile for ``train_step``."""
        self._value("prepare_training", learning_rate=learning_rate)

    def init_radius(self, radius: float) -> None:
        """Let a new network start from this distance along every ray instead of 0: it saves epochs."""
        self._value("init_radius", radius=radius)

    def load_network(self, weights: Sequence[NDArray[np.float32]]) -> None:
        """Set all weights of a StarDist on an encoder to torch's (``StarDistNetwork.arrays``)."""
        self._value("load_network", {str(number): array for number, array in enumerate(weights)})

    def network_arrays(self) -> list[NDArray[np.float32]]:
        """All weights of a StarDist on an encoder, as ``load_network`` takes them."""
        return self._arrays("network_arrays")

    def train_step(self, batch: StarDistBatch, learning_rate: float) -> float:
        """One step on a batch; returns the loss."""
        return float(self._value("train_step", vars(batch), learning_rate=learning_rate))

    def validation_loss(self, batch: StarDistBatch) -> float:
        """The loss on a batch, without a training step."""
        return float(self._value("validation_loss", vars(batch)))

    def predict(self, image: NDArray[np.float32]) -> StarDistMaps:
        """Maps of one normalised image (rows, columns, 3)."""
        prob, dist = self._arrays("predict", {"image": image})
        return StarDistMaps(prob, dist)

    def instances(
        self, maps: StarDistMaps, shape: tuple[int, int], prob_threshold: float, nms_threshold: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Nuclei of a prediction: labels (rows, columns) int32, and the probability of label 1, 2, ..."""
        labels, probability = self._arrays(
            "instances",
            vars(maps),
            shape=shape,
            prob_threshold=prob_threshold,
            nms_threshold=nms_threshold,
        )
        return labels, probability

    def save(self, thresholds: Mapping[str, float]) -> None:
        """Write the weights and thresholds into the folder."""
        self._value("save", thresholds=dict(thresholds))

    def save_weights(self, path: Path) -> None:
        """Write the network's weights alone (HDF5)."""
        self._value("save_weights", path=str(path.absolute()))

    def load_weights(self, path: Path) -> None:
        """Take the network's weights from an HDF5 file of ``save_weights``."""
        self._value("load_weights", path=str(path.absolute()))

    def keep_best(self) -> None:
        """Remember the weights as they are now as the best ones."""
        self._value("keep_best")

    def use_best(self) -> None:
        """Take the weights that ``keep_best`` remembered."""
        self._value("use_best")

    def weights(self) -> list[NDArray[np.float32]]:
        """The network's weights as they are now."""
        return self._arrays("weights")

    def save_state(self, path: Path, record: Mapping[str, float]) -> None:
        """Weights, best weights, optimiser and the training loop's numbers; whole or not at all."""
        self._value("save_state", path=str(path.absolute()), record=dict(record))

    def load_state(self, path: Path) -> dict[str, float]:
        """Continue from ``save_state``; returns its record.

        Raises DamagedStateError where the file is cut off or damaged, TrainingError where it does not fit.
        """
        return dict(self._value("load_state", path=str(path.absolute())))

    def _value(self, call: str, arrays: Mapping[str, NDArray[Any]] | None = None, **arguments: Any) -> Any:
        return self._call(call, arrays, arguments).values["value"]

    def _arrays(
        self, call: str, arrays: Mapping[str, NDArray[Any]] | None = None, **arguments: Any
    ) -> list[NDArray[Any]]:
        return list(self._call(call, arrays, arguments).arrays.values())

    def _call(
        self, call: str, arrays: Mapping[str, NDArray[Any]] | None, arguments: dict[str, Any]
    ) -> Message:
        if not self._end.alive:
            raise TrainingError(self.folder, "the StarDist process was closed", "Open it again")
        try:
            send(self._requests, Message({"call": call, "arguments": arguments}, arrays or {}))
            answer = receive(self._answers)
        except (EOFError, OSError) as error:
            raise self._ended() from error
        except BaseException:
            # Interrupted between request and answer: the next answer would belong to this request.
            self.close()
            raise
        if "error" in answer.values:
            raise _error(*answer.values["error"])
        if "failure" in answer.values:
            line, trace = answer.values["failure"]
            raise WorkerFailure(line) from RuntimeError(f"in the StarDist process:\n{trace}")
        return answer

    def _ended(self) -> TrainingError:
        """What to say where the process is gone: its exit code and the last lines of its log."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()[-_TAIL:]
        code = self._process.poll()
        self.close()
        error = TrainingError(
            "teacher",
            f"the StarDist process ended (exit code {code}{f', last line: {lines[-1]}' if lines else ''})",
            "If memory ran out, close other programs or lower teacher.batch; continue with --resume",
        )
        if lines:
            error.add_note("\n".join(["The last lines of its log:", *lines]))
        return error


def _start(log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process without a model yet, which writes what it prints to ``log``."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # The packages that this process sees, also where they were added to sys.path at run time.
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


def _error(kind: str, subject: str, reason: str, remedy: str) -> CellGenNetError:
    """The error that was raised in the process."""
    raised: type[CellGenNetError] = getattr(errors, kind, CellGenNetError)
    return raised(subject, reason, remedy)


def _end(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """End a process: it ends by itself once its stdin is closed, and is killed if it does not."""
    try:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        log.close()
