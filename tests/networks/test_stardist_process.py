"""StarDist's process: quiet, ended with its parent in every case, and its errors reach the parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from cellgennet_qupath.core.config import TeacherConfig
from cellgennet_qupath.core.errors import MissingExtraError, TrainingError
from cellgennet_qupath.networks import stardist_process
from cellgennet_qupath.networks.messages import Message, receive, send
from cellgennet_qupath.networks.stardist_process import StarDistBatch, StarDistProcess, WorkerFailure

TINY = TeacherConfig(filters=4, depth=1, rays=8, patch=64, batch=1)

PREDICTING = """
import sys
from pathlib import Path
import numpy as np
from cellgennet_qupath.core.config import TeacherConfig
from cellgennet_qupath.networks.stardist_process import StarDistProcess
image = np.zeros((256, 256, 3), "float32")
with StarDistProcess(Path(sys.argv[1]), TeacherConfig(filters=4, depth=1, rays=8)) as teacher:
    teacher.predict(image)
    print(teacher._process.pid, flush=True)
    while True:
        teacher.predict(image)
"""


def runs(process: int) -> bool:
    """Whether a process still runs; one that has ended may be listed until its parent has noticed."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return listed.stdout.strip()[:1] not in ("", "Z")


def test_values_and_arrays_arrive_as_they_were_sent() -> None:
    arrays = {
        "image": np.random.default_rng(0).random((3, 4, 2)).astype(np.float32)[:, ::2],
        "mask": np.array([[True, False]]),
        "none": np.empty((0, 3), np.int32),
    }
    stream = BytesIO()
    send(stream, Message({"rate": 1e-3, "best": float("inf"), "name": "µ"}, arrays))
    send(stream, Message())
    stream.seek(0)
    message = receive(stream)
    assert message.values == {"rate": 1e-3, "best": float("inf"), "name": "µ"}
    for name, array in arrays.items():
        assert message.arrays[name].dtype == array.dtype
        assert np.array_equal(message.arrays[name], array)
    assert receive(stream) == Message()
    with pytest.raises(EOFError):
        receive(stream)


def test_half_a_message_is_the_end() -> None:
    stream = BytesIO()
    send(stream, Message({}, {"image": np.zeros(100)}))
    with pytest.raises(EOFError):
        receive(BytesIO(stream.getvalue()[:-1]))


def test_without_stardist_no_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stardist", None)
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(MissingExtraError, match=r"cellgennet-qupath\[train\]"):
        StarDistProcess(tmp_path)


@pytest.mark.slow
def test_unexpected_errors_and_crashes_reach_the_parent(tmp_path: Path) -> None:
    with StarDistProcess(tmp_path / "teacher", TINY) as teacher:
        teacher.prepare_training(1e-3)
        with pytest.raises(TrainingError) as refused:
            teacher.load_state(tmp_path / "missing.npz")
        assert refused.value.subject == str(tmp_path / "missing.npz")
        assert refused.value.reason == "does not fit the teacher's settings"
        assert refused.value.remedy == "Train again without --resume"
        with pytest.raises(WorkerFailure, match="ValueError") as failed:
            teacher.predict(np.zeros((64, 64), np.float32))
        assert "Traceback" in str(failed.value.__cause__)
        assert teacher.predict(np.zeros((64, 64, 3), np.float32)).prob.shape == (32, 32)
        teacher._process.kill()
        with pytest.raises(
            TrainingError, match=r"^teacher: the StarDist process ended \(exit code "
        ) as ended:
            teacher.predict(np.zeros((64, 64, 3), np.float32))
        assert len(str(ended.value).splitlines()) == 1
        assert "--resume" in str(ended.value)
        with pytest.raises(TrainingError, match="was closed"):
            teacher.weights()
    assert teacher._process.returncode not in (None, 0)


@pytest.mark.slow
def test_nothing_of_tensorflow_reaches_the_user(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from cellgennet_qupath.core.config import TeacherConfig;"
        "from cellgennet_qupath.networks.stardist_process import StarDistProcess; import numpy as np;"
        f"folder = Path({str(tmp_path / 'teacher')!r});"
        "t = StarDistProcess(folder, TeacherConfig(filters=4, depth=2, rays=8));"
        "t.predict(np.zeros((64, 64, 3), 'float32'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
def test_a_teacher_trains_and_ends_when_it_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stardist_process, "_PATIENCE", 120.0)  # a busy machine is not what is tested
    image = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    dist = np.full((1, 32, 32, 9), 5, np.float32)
    dist[..., -1] = 1
    batch = StarDistBatch(image, np.ones((1, 32, 32, 1), np.float32), dist)
    teacher = StarDistProcess(tmp_path / "teacher", TINY)
    teacher.prepare_training(1e-3)
    before = teacher.validation_loss(batch)
    assert teacher.validation_loss(batch) == before
    for _ in range(20):
        teacher.train_step(batch, 1e-3)
    assert teacher.validation_loss(batch) < before
    process = teacher._process
    assert process.poll() is None
    del teacher
    assert process.returncode == 0


@pytest.mark.slow
def test_a_teacher_that_is_sure_has_a_finite_loss(tmp_path: Path) -> None:
    # In 16 bits the logarithm of 0 made all weights NaN (on processors with bfloat16).
    image = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    dist = np.full((1, 32, 32, 9), 5, np.float32)
    dist[..., -1] = 1
    batch = StarDistBatch(image, np.ones((1, 32, 32, 1), np.float32), dist)
    with StarDistProcess(tmp_path / "teacher", TINY, threads=1) as teacher:
        teacher.prepare_training(0.1)
        losses = [teacher.train_step(batch, 0.1) for _ in range(40)]
        prob = teacher.predict(image[0]).prob
    assert np.isfinite(losses).all()
    assert prob.min() > 0.9999


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_the_process_ends_with_its_parent(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PREDICTING, str(tmp_path / "teacher")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert runs(child)
    parent.send_signal(how)
    _, stderr = parent.communicate(timeout=60)
    assert parent.returncode == -how or "KeyboardInterrupt" in stderr
    waiting = time.monotonic() + 60
    while runs(child):
        assert time.monotonic() < waiting, "the process outlives its parent"
        time.sleep(0.1)
