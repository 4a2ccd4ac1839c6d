"""StarDist itself: a model built, trained step by step, and run, on TensorFlow.

Only the process of ``stardist_worker`` makes one; everyone else uses ``stardist_process``.
Schmidt et al., "Cell Detection with Star-convex Polygons", MICCAI 2018.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import DamagedArraysError, read_npz
from ..core.config import TeacherConfig
from ..core.errors import DamagedStateError, TrainingError
from ..core.files import remove_tree, replacing
from ..core.plain_files import NotPlainError, copy_folder
from .stardist_config import INIT_REMEDY, PLAIN, backbone_of, check_stardist_folder

WEIGHTS = "weights_best.h5"
"""The file of weights in a StarDist model folder."""


_IN_32_BITS = (
    "TF_AUTO_MIXED_PRECISION_GRAPH_REWRITE_DENYLIST_ADD",
    "Minimum,Maximum,ClipByValue,Sub,Log",
)
"""Operations that TensorFlow must not rewrite to 16 bits. Keras keeps probabilities a ten millionth away from
0 and 1 for the logarithms of the cross-entropy; 16 bits have no such number, and one sure pixel made the loss
and all weights NaN."""


class StarDistModel:
    """A StarDist2D model in a folder of StarDist's own layout; one in a process."""

    def __init__(self, folder: Path, config: TeacherConfig | None, threads: int, seed: int) -> None:
        """Open the model in ``folder``, or build a new one there from ``config`` and ``seed``.

        Raises TrainingError where a folder to open or to start from is not a StarDist model folder, and
        ProjectError where the folder for a new one is a link or holds one.
        """
        import tensorflow as tf
        from stardist.models import StarDist2D

        from .stardist_encoder import EncoderConfig2D, EncoderStarDist2D

        _set_up(tf, threads)
        # Names and random numbers start anew, also after another model in the same process.
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(seed)
        self._tf = tf
        self._best: list[NDArray[np.float32]] = []
        self.folder = folder
        model_config = None
        if config is not None:
            remove_tree(folder.parent, folder)
            if config.init is not None:
                _copy_init(config.init, folder)
            else:
                model_config = EncoderConfig2D(
                    backbone=config.backbone,
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
        else:
            check_stardist_folder(folder, "Name a folder with config.json")
        backbone = backbone_of(folder) if model_config is None else model_config.backbone
        kind = StarDist2D if backbone == PLAIN else EncoderStarDist2D
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._model = kind(model_config, name=folder.name, basedir=str(folder.parent))
        self.grid = int(self._model.config.grid[0])
        self.rays = int(self._model.config.n_rays)
        self.backbone = backbone
        self.filters = int(self._model.config.unet_n_filter_base)

    def prepare_training(self, learning_rate: float) -> None:
        """Compile for ``train_step``."""
        self._model.config.train_loss_weights = (1.0, 0.2)  # of the probability and of the distances
        # As torch does for the student: one outlier batch must not throw the weights off.
        optimizer = self._tf.keras.optimizers.Adam(learning_rate, global_clipnorm=5.0)
        self._model.prepare_for_training(optimizer)
        # Variables that appear in the first step would have TensorFlow trace its graph twice.
        optimizer.build(self._model.keras_model.trainable_variables)

    def init_radius(self, radius: float) -> None:
        """Let a new network start from this distance along every ray instead of 0: it saves epochs."""
        bias = self._model.keras_model.get_layer("dist").bias
        bias.assign(np.full(self.rays, radius, np.float32))

    def load_network(self, **arrays: NDArray[np.float32]) -> None:
        """Set all weights of a StarDist on an encoder to torch's, by their numbers."""
        from .stardist_encoder import load_network

        load_network(self._model.keras_model, [arrays[str(number)] for number in range(len(arrays))])

    def network_arrays(self) -> list[NDArray[np.float32]]:
        """All weights of a StarDist on an encoder, as ``load_network`` takes them."""
        from .stardist_encoder import network_arrays

        return network_arrays(self._model.keras_model)

    def train_step(
        self,
        image: NDArray[np.float32],
        prob: NDArray[np.float32],
        dist: NDArray[np.float32],
        learning_rate: float,
    ) -> float:
        """One step on a batch (see ``StarDistBatch``); returns the loss."""
        network = self._model.keras_model
        network.optimizer.learning_rate = learning_rate
        return float(network.train_on_batch(image, [prob, dist], return_dict=True)["loss"])

    def validation_loss(
        self, image: NDArray[np.float32], prob: NDArray[np.float32], dist: NDArray[np.float32]
    ) -> float:
        """The loss on a batch, without a training step."""
        return float(self._model.keras_model.test_on_batch(image, [prob, dist], return_dict=True)["loss"])

    def predict(self, image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probability and distances on the model's grid, of a normalised image (rows, columns, 3)."""
        prob, dist = self._model.predict(image, axes="YXC", show_tile_progress=False)
        return np.asarray(prob), np.asarray(dist)

    def instances(
        self,
        prob: NDArray[np.float32],
        dist: NDArray[np.float32],
        shape: tuple[int, int],
        prob_threshold: float,
        nms_threshold: float,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Nuclei of a prediction: labels (rows, columns), and the probability of label 1, 2, ..."""
        labels, details = self._model._instances_from_prediction(
            tuple(shape), prob, dist, prob_thresh=prob_threshold, nms_thresh=nms_threshold
        )
        return np.asarray(labels, np.int32), np.asarray(details["prob"], np.float32)

    def save(self, thresholds: dict[str, float]) -> None:
        """Write the weights and thresholds into the folder."""
        self.save_weights(self.folder / WEIGHTS)
        (self.folder / "thresholds.json").write_text(json.dumps(thresholds), encoding="utf-8")

    def save_weights(self, path: str | Path) -> None:
        """Write the network's weights alone (HDF5)."""
        self._model.keras_model.save_weights(str(path))

    def load_weights(self, path: str | Path) -> None:
        """Take the network's weights from an HDF5 file of ``save_weights``."""
        self._model.keras_model.load_weights(str(path))

    def weights(self) -> list[NDArray[np.float32]]:
        """The network's weights as they are now."""
        return [np.asarray(value) for value in self._model.keras_model.get_weights()]

    def keep_best(self) -> None:
        """Remember the weights as they are now as the best ones."""
        self._best = self.weights()

    def use_best(self) -> None:
        """Take the weights that ``keep_best`` remembered."""
        self._model.keras_model.set_weights(self._best)

    def save_state(self, path: str | Path, record: dict[str, float]) -> None:
        """Weights, best weights, optimiser and the training loop's numbers; whole or not at all.

        All of it in one file, so that its parts always belong together.
        """
        arrays = {f"w{i}": value for i, value in enumerate(self._model.keras_model.get_weights())}
        optimizer = self._model.keras_model.optimizer
        arrays |= {f"b{i}": value for i, value in enumerate(self._best)}
        arrays |= {f"o{i}": np.asarray(value) for i, value in enumerate(optimizer.variables)}
        arrays |= {f"r_{name}": np.float64(value) for name, value in record.items()}
        with replacing(Path(path)) as part, part.open("wb") as file:
            np.savez(file, **arrays)

    def load_state(self, path: str | Path) -> dict[str, float]:
        """Continue from ``save_state``; returns its record.

        Raises DamagedStateError where the file is cut off or damaged, TrainingError where it does not fit;
        the model is unchanged then.
        """
        if not Path(path).is_file():
            raise self._misfit(path)
        try:
            arrays = read_npz(Path(path))
        except DamagedArraysError as error:
            raise DamagedStateError(path, str(error), "Train again without --resume") from error
        network = self._model.keras_model
        network.optimizer.build(network.trainable_variables)
        weights = _numbered(arrays, "w", [value.shape for value in network.get_weights()])
        optimizer = _numbered(arrays, "o", [tuple(v.shape) for v in network.optimizer.variables])
        best = _numbered(arrays, "b", [value.shape for value in network.get_weights()])
        if weights is None or optimizer is None or best is None:
            raise self._misfit(path)
        network.set_weights(weights)
        for variable, value in zip(network.optimizer.variables, optimizer, strict=True):
            variable.assign(value)
        self._best = best
        names = [name for name in arrays if name.startswith("r_")]
        return {name[2:]: float(arrays[name]) for name in names}

    @staticmethod
    def _misfit(path: str | Path) -> TrainingError:
        return TrainingError(path, "does not fit the teacher's settings", "Train again without --resume")


def _numbered(
    arrays: dict[str, NDArray[Any]], prefix: str, shapes: list[tuple[int, ...]]
) -> list[NDArray[Any]] | None:
    """The arrays ``prefix0``, ``prefix1``, ...; None unless all are there in these shapes."""
    found = [arrays.get(f"{prefix}{number}") for number in range(len(shapes))]
    fitting = [a for a, shape in zip(found, shapes, strict=True) if a is not None and a.shape == shape]
    return fitting if len(fitting) == len(shapes) else None


def _set_up(tf: Any, threads: int) -> None:
    """Threads, reproducible arithmetic, and 16-bit arithmetic where the processor has it."""
    tf.config.experimental.enable_op_determinism()
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    for card in tf.config.list_physical_devices("GPU"):
        # Without this TensorFlow takes all memory of the card, and torch needs some.
        tf.config.experimental.set_memory_growth(card, True)
    os.environ[_IN_32_BITS[0]] = _IN_32_BITS[1]
    tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})


def _copy_init(source: Path, folder: Path) -> None:
    check_stardist_folder(source, INIT_REMEDY)
    try:
        copy_folder(source, folder)
    except NotPlainError as error:
        raise TrainingError(error.subject, error.reason, "Replace it by the file itself") from error
