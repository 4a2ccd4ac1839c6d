"""The StarDist teacher: built, trained on labelled pixels only, and asked for its opinion.

Schmidt et al., "Cell Detection with Star-convex Polygons", MICCAI 2018.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..core.config import TeacherConfig
from ..core.errors import TrainingError
from ..core.files import replacing
from ..training.patches import INNER, Patch, objectness
from .quiet import quiet_stderr

_WEIGHTS = "weights_best.h5"


@dataclass(frozen=True)
class TeacherMaps:
    """What the teacher sees on its grid: prob (rows, columns), dist (rows, columns, rays), float32."""

    prob: NDArray[np.float32]
    dist: NDArray[np.float32]


class Teacher:
    """A StarDist2D model in a folder of StarDist's own layout."""

    def __init__(
        self, folder: Path, config: TeacherConfig | None = None, threads: int = 0, seed: int = 0
    ) -> None:
        """Open the model in ``folder``, or build a new one there from ``config`` and ``seed``."""
        with quiet_stderr():
            import tensorflow as tf
            from stardist.models import Config2D, StarDist2D
        _set_up(tf, threads)
        # Layers are numbered through a process, and their names go into the file of weights.
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(seed)
        self._tf = tf
        self.folder = folder
        model_config = None
        if config is not None:
            if folder.exists():
                shutil.rmtree(folder)
            if config.init is not None:
                _copy_init(config.init, folder)
            else:
                model_config = Config2D(
                    axes="YXC",
                    n_channel_in=3,
                    n_rays=config.rays,
                    grid=(config.grid, config.grid),
                    unet_n_depth=config.depth,
                    unet_n_filter_base=config.filters,
                    net_conv_after_unet=4 * config.filters,
                    train_patch_size=(config.patch, config.patch),
                    train_batch_size=config.batch,
                    train_learning_rate=config.learning_rate,
                    # Unknown pixels carry the label of background in the distances: no pull on them.
                    train_background_reg=0,
                    train_tensorboard=False,
                )
        elif not (folder / "config.json").is_file():
            raise TrainingError(folder, "is no StarDist model folder", "Name a folder with config.json")
        # StarDist prints what it finds on stdout, which belongs to results.
        with quiet_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model = StarDist2D(model_config, name=folder.name, basedir=str(folder.parent))
        self.grid = int(self._model.config.grid[0])
        self.rays = int(self._model.config.n_rays)

    def prepare_training(self, learning_rate: float, loss_weights: tuple[float, float] = (1.0, 0.2)) -> None:
        """Compile for ``train_step``; the weights of the probability and the distance loss."""
        self._model.config.train_loss_weights = loss_weights
        # As torch does for the student: one outlier batch must not throw the weights off.
        optimizer = self._tf.keras.optimizers.Adam(learning_rate, global_clipnorm=5.0)
        self._model.prepare_for_training(optimizer)

    def init_radius(self, patches: list[Patch]) -> None:
        """Let a new network start at the mean radius of these nuclei instead of at none: it saves epochs."""
        _, (prob, dist) = self._batch(patches)
        inside = prob[..., 0] > 0
        if inside.any():
            bias = self._model.keras_model.get_layer("dist").bias
            bias.assign(np.full(self.rays, dist[..., :-1][inside].mean(), np.float32))

    def train_step(self, patches: list[Patch], learning_rate: float) -> float:
        """One step on a batch; returns the loss."""
        self._model.keras_model.optimizer.learning_rate = learning_rate
        x, y = self._batch(patches)
        return float(self._model.keras_model.train_on_batch(x, y, return_dict=True)["loss"])

    def validation_loss(self, patches: list[Patch]) -> float:
        """The loss on a batch without learning from it."""
        x, y = self._batch(patches)
        return float(self._model.keras_model.test_on_batch(x, y, return_dict=True)["loss"])

    def _batch(self, patches: list[Patch]) -> tuple[Any, Any]:
        targets = [_targets(patch.objects, self.rays, self.grid) for patch in patches]
        image = np.stack([patch.image[INNER, INNER] for patch in patches])
        prob = np.stack([t[0] for t in targets])[..., None]
        mask = np.maximum(prob, 0)
        dist = np.concatenate([np.stack([t[1] for t in targets]), mask], axis=-1)
        return image, [prob, dist]

    def predict(self, image: NDArray[np.float32]) -> TeacherMaps:
        """Maps of one normalised image (rows, columns, 3)."""
        prob, dist = self._model.predict(image, axes="YXC", show_tile_progress=False)
        return TeacherMaps(np.asarray(prob), np.asarray(dist))

    def instances(
        self, maps: TeacherMaps, shape: tuple[int, int], prob_threshold: float, nms_threshold: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Nuclei of a prediction: labels (rows, columns) int32, and the probability of label 1, 2, ..."""
        labels, found = self._model._instances_from_prediction(
            shape, maps.prob, maps.dist, prob_thresh=prob_threshold, nms_thresh=nms_threshold
        )
        return np.asarray(labels, np.int32), np.asarray(found["prob"], np.float32)

    def prob_at_half(self, maps: TeacherMaps, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Object probability on the half-resolution grid (rows, columns), whatever the teacher's own is."""
        if self.grid == 2:
            return maps.prob[: shape[0], : shape[1]]
        flags = cv2.INTER_AREA if self.grid < 2 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(maps.prob, (shape[1], shape[0]), interpolation=flags), np.float32)

    def save(self, thresholds: dict[str, float]) -> None:
        """Write the weights and thresholds into the folder."""
        self.save_weights(self.folder / _WEIGHTS)
        (self.folder / "thresholds.json").write_text(json.dumps(thresholds), encoding="utf-8")

    def save_weights(self, path: Path) -> None:
        """Write the network's weights alone (HDF5)."""
        self._model.keras_model.save_weights(str(path))

    def save_state(self, path: Path, record: dict[str, float]) -> None:
        """Weights, optimiser and numbers of the training loop, to go on from; whole or not at all."""
        arrays = {f"w{i}": value for i, value in enumerate(self._model.keras_model.get_weights())}
        optimizer = self._model.keras_model.optimizer
        arrays |= {f"o{i}": np.asarray(value) for i, value in enumerate(optimizer.variables)}
        arrays |= {f"r_{name}": np.float64(value) for name, value in record.items()}
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def load_state(self, path: Path) -> dict[str, float]:
        """Go on from ``save_state``; returns its record. Raises TrainingError if it does not fit."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            weights = [arrays[f"w{i}"] for i in range(sum(name.startswith("w") for name in arrays))]
            self._model.keras_model.set_weights(weights)
            optimizer = self._model.keras_model.optimizer
            optimizer.build(self._model.keras_model.trainable_variables)
            for i, variable in enumerate(optimizer.variables):
                variable.assign(arrays[f"o{i}"])
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(
                path, "does not fit the teacher's settings", "Train again without --resume"
            ) from error
        return {name[2:]: float(value) for name, value in arrays.items() if name.startswith("r_")}

    def weights(self) -> list[NDArray[np.float32]]:
        """The network's weights as they are now."""
        return [np.asarray(value) for value in self._model.keras_model.get_weights()]

    def load_weights(self, path: Path) -> None:
        """Take the network's weights from an HDF5 file of ``save_weights``."""
        self._model.keras_model.load_weights(str(path))


def _targets(
    objects: NDArray[np.int32], rays: int, grid: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """StarDist's targets of a patch with ``CONTEXT`` around it: prob (-1 unknown) and distances."""
    from stardist import star_dist

    prob = objectness(objects)[INNER, INNER][::grid, ::grid]
    known = np.maximum(objects, 0)
    dist = star_dist(known, rays, mode="cpp")[INNER, INNER][::grid, ::grid]
    return prob, np.asarray(dist, np.float32)


def _set_up(tf: Any, threads: int) -> None:
    """Threads, reproducible arithmetic, and 16-bit arithmetic where the processor has it."""
    tf.config.experimental.enable_op_determinism()
    with contextlib.suppress(RuntimeError):  # fixed once TensorFlow has run anything in this process
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def _copy_init(source: Path, folder: Path) -> None:
    if not (source / "config.json").is_file():
        raise TrainingError(
            source, "is no StarDist model folder", "Give teacher.init a folder with config.json"
        )
    shutil.copytree(source, folder)
