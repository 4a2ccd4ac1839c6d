"""StarDist 2D from nothing, as its example notebooks train it: 32 rays, grid 2, flips, brightness, noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from csbdeep.utils import normalize
from numpy.typing import NDArray
from peer_common import Image, Labels, arguments, finish, pairs, spent
from stardist.models import Config2D, StarDist2D

Normalised = NDArray[np.float32]


def normalised(image: Image) -> Normalised:
    """Each channel between its percentiles."""
    return np.asarray(normalize(image, 1, 99.8, axis=(0, 1)), np.float32)


def augmenter(seed: int) -> Callable[[Normalised, Labels], tuple[Normalised, Labels]]:
    """The augmenter of the notebooks: flips and rotations, another brightness, noise."""
    rng = np.random.default_rng(seed)

    def augmented(image: Normalised, labels: Labels) -> tuple[Normalised, Labels]:
        if rng.random() < 0.5:
            image, labels = image.swapaxes(0, 1), labels.swapaxes(0, 1)
        for axis in (0, 1):
            if rng.random() < 0.5:
                image, labels = np.flip(image, axis), np.flip(labels, axis)
        brighter = image * rng.uniform(0.6, 2) + rng.uniform(-0.2, 0.2)
        noise = rng.normal(0, 0.02 * rng.uniform(0, 1), image.shape)
        return (brighter + noise).astype(np.float32), labels

    return augmented


class UntilSpent(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Stops a training at so many seconds of processor time, at the end of an epoch."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if spent() >= self._seconds:
            self.model.stop_training = True


def main() -> None:
    """Train, choose thresholds on the validation windows, find nuclei."""
    options = arguments()
    tf.keras.utils.set_random_seed(options.seed)
    images, labels = pairs(options.material, "train")
    held_out, held_out_labels = pairs(options.material, "validation")
    side = min(min(one.shape) for one in labels)
    patch = min(256, side // 16 * 16)
    # Weights are chosen by the loss on validation after each epoch: short epochs, as the time is short.
    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        n_channel_in=3,
        use_gpu=False,
        train_patch_size=(patch, patch),
        train_steps_per_epoch=50,
        train_tensorboard=False,
    )
    model = StarDist2D(config, name="model", basedir=str(options.output))
    model.prepare_for_training()
    model.callbacks.append(UntilSpent(60 * options.minutes))
    shown = [normalised(one) for one in held_out]
    history = model.train(
        [normalised(one) for one in images],
        labels,
        validation_data=(shown, held_out_labels),
        augmenter=augmenter(options.seed),
        seed=options.seed,
    )
    model.optimize_thresholds(shown, held_out_labels)
    about = {"parameters": model.keras_model.count_params(), "epochs": len(history.history["loss"])}
    finish(
        options,
        lambda image: model.predict_instances(normalised(image), show_tile_progress=False)[0],
        about,
    )


if __name__ == "__main__":
    main()
