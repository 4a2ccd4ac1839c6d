"""InstanSeg from nothing by its own training script, at the 0.5 µm per pixel of its brightfield model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peer_common import Image, Labels, arguments, finish, pairs, spent

# Of torchvision only transforms are needed. Its wheel lacks its operators beside a torch for the CPU alone,
# and then cannot be imported unless these two are known.
for operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float limit) -> Tensor")

from instanseg import InstanSeg  # noqa: E402
from instanseg.scripts.train import instanseg_training  # noqa: E402
from instanseg.utils import AI_utils  # noqa: E402
from instanseg.utils.loss.instanseg_loss import InstanSeg_Torchscript  # noqa: E402
from instanseg.utils.model_loader import load_model  # noqa: E402

FILE_MPP, MPP = 0.25, 0.5


class TimeIsUp(Exception):
    """The processor time of the training is used up."""


def until(seconds: float, epoch: Callable[..., Any]) -> Callable[..., Any]:
    """An epoch that does not begin after so many seconds: the script can only count epochs."""

    def begun(*args: Any, **options: Any) -> Any:
        if spent() >= seconds:
            raise TimeIsUp
        return epoch(*args, **options)

    return begun


def items(material: Path, split: str) -> list[dict[str, Any]]:
    """A split as the script's data set."""
    images, labels = pairs(material, split)
    return [_item(*one) for one in zip(images, labels, strict=True)]


def _item(image: Image, labels: Labels) -> dict[str, Any]:
    about = {"parent_dataset": "windows", "image_modality": "Brightfield", "pixel_size": FILE_MPP}
    return {"image": image, "nucleus_masks": labels, **about}


def tile(images: list[dict[str, Any]]) -> int:
    """The side of a training tile: the default of 256, or what the smallest image has at ``MPP``."""
    side = min(min(one["nucleus_masks"].shape) for one in images)
    return min(256, int(side * FILE_MPP / MPP) // 16 * 16)


def main() -> None:
    """Train, choose the thresholds on the validation windows, find nuclei."""
    options = arguments()
    data = {"Train": items(options.material, "train"), "Validation": items(options.material, "validation")}
    size = tile(data["Train"])
    AI_utils.train_epoch = until(60 * options.minutes, AI_utils.train_epoch)
    sys.argv = sys.argv[:1]  # which the script reads for itself
    options.output.mkdir(parents=True, exist_ok=True)
    with suppress(TimeIsUp):
        instanseg_training(
            data,
            output_path=str(options.output),
            experiment_str="model",
            source_dataset="[windows]",  # the default, "all", keeps none
            device="cpu",
            num_workers=1,
            requested_pixel_size=MPP,
            tile_size=size,
            window_size=min(128, size),
            length_of_epoch=len(data["Train"]),
            hotstart_training=1,
            num_epochs=100_000,
            rng_seed=options.seed + 1,  # 0 counts as none
            on_cluster=True,
        )
    network, about = load_model("model", path=str(options.output), device="cpu")
    stored = torch.load(options.output / "model" / "model_weights.pth", map_location="cpu")
    network.eval()
    # As the package exports its models.
    whole: Any = InstanSeg_Torchscript(network, pixel_size=MPP, n_sigma=about["n_sigma"]).eval()
    model = InstanSeg(torch.jit.script(whole), device="cpu", verbosity=0)

    def segment(image: Image) -> NDArray[np.integer]:
        found = model.eval_small_image(image, FILE_MPP, return_image_tensor=False)
        return np.asarray(found).reshape(image.shape[:2]).astype(np.int32)

    facts = {"parameters": sum(p.numel() for p in network.parameters()), "tile": size}
    finish(options, segment, facts | {"epoch": stored["epoch"], "f1": stored["f1_score"]})


if __name__ == "__main__":
    main()
