"""Cellpose 3 from nothing, as its documentation trains: SGD at 0.1, warm-up, decay in the last 50 epochs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from cellpose import dynamics, models, train
from numpy.typing import NDArray
from peer_common import Image, arguments, finish, pairs, spent

GREY = [0, 0]
FEWEST_EPOCHS = 101
"""From here on ``train_seg`` lowers the learning rate at the end."""
TRIAL = 8


def plan(seconds: float, per_image: float, images: int) -> tuple[int, int]:
    """Epochs and images per epoch that take so many seconds: all images if that leaves enough epochs."""
    most = max(1, round(seconds / per_image))
    if most >= FEWEST_EPOCHS * images:
        return most // images, images
    epochs = min(FEWEST_EPOCHS, most)
    return epochs, most // epochs


def main() -> None:
    """Time a short training, plan the long one, find nuclei at the diameter that was learnt."""
    options = arguments()
    options.output.mkdir(parents=True, exist_ok=True)
    images, labels = pairs(options.material, "train")
    outlined = [number for number, one in enumerate(labels) if one.any()]
    images = [images[i] for i in outlined]
    # Once for all trainings; ``train_seg`` takes labels with their flows.
    labels = dynamics.labels_to_flows([labels[i] for i in outlined], device=torch.device("cpu"))
    settings: dict[str, Any] = {
        "train_data": images,
        "train_labels": labels,
        "channels": GREY,
        "SGD": True,
        "learning_rate": 0.1,
        "weight_decay": 1e-4,
        # The default of 5 would leave out most windows; those without nuclei would count as of diameter 5.
        "min_train_masks": 1,
        "save_path": options.output,
    }

    def fresh() -> models.CellposeModel:
        torch.manual_seed(options.seed)
        return models.CellposeModel(gpu=False, pretrained_model=None)

    def seconds(epochs: int) -> float:
        before = spent()
        train.train_seg(fresh().net, n_epochs=epochs, nimg_per_epoch=TRIAL, model_name="trial", **settings)
        return spent() - before

    seconds(1)  # the first training in a process also compiles and allocates
    first = seconds(1)
    per_image = (seconds(4) - first) / (3 * TRIAL)
    if per_image <= 0:
        raise SystemExit("the time for an image could not be measured: the machine is too busy")
    # What comes before the first epoch takes as long as it did in the trial.
    left = 60 * options.minutes - spent() - max(0.0, first - TRIAL * per_image)
    epochs, each = plan(left, per_image, len(images))
    model = fresh()
    train.train_seg(model.net, n_epochs=epochs, nimg_per_epoch=each, model_name="model", **settings)
    about = {
        "parameters": sum(p.numel() for p in model.net.parameters()),
        "epochs": epochs,
        "images_per_epoch": each,
        "windows": len(images),
        "diameter": round(float(model.net.diam_labels), 1),
    }
    final = models.CellposeModel(gpu=False, pretrained_model=str(options.output / "models" / "model"))

    def segment(image: Image) -> NDArray[np.integer]:
        return np.asarray(final.eval(image, channels=GREY)[0])

    finish(options, segment, about)


if __name__ == "__main__":
    main()
