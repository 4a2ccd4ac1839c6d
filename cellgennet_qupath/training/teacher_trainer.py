"""The optimisation step of a teacher on an ImageNet encoder, in torch, with StarDist's targets and loss.

The same calls as those of ``StarDistProcess``, which trains StarDist's own U-Net on TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import convert_conv2d_weight_memory_format

from ..core.config import TeacherConfig
from ..core.errors import TrainingError
from ..networks.device import best_device, bfloat16_pays, set_threads
from ..networks.stardist_network import StarDistNetwork
from ..networks.stardist_process import StarDistBatch
from .losses import weighted_mean
from .torch_state import load_optimiser, load_state, optimiser_tensors, save_state, under

_GRID = 2
_DISTANCES = 0.2
"""StarDist's weight of the distances in its loss; that of the probability is 1."""
_DECAY = 0.99
"""Of the averaged weights, which are validated and kept."""


class TeacherTrainer:
    """AdamW on StarDist's loss, and an averaged copy of the network, which is the result.

    The same seed and the same batches give the same weights on the same machine and number of threads.
    """

    state_name = "teacher.safetensors"
    """The file of ``save_state``."""

    def __init__(
        self,
        config: TeacherConfig,
        threads: int,
        seed: int,
        weights: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        """A network with the weights of ``StarDistProcess.network_arrays``, or on an ImageNet encoder.

        Raises MissingExtraError without the encoder's ImageNet weights.
        """
        set_threads(threads)
        torch.manual_seed(seed)
        self.grid, self.rays = _GRID, config.rays
        self._steps_per_epoch = config.steps_per_epoch
        self._device = torch.device(best_device())
        self._network = self._built(config)
        if weights is None:
            self._network.init_pretrained()
        else:
            self._network.load_arrays(weights)
        self._average = self._built(config)
        self._average.load_state_dict(self._network.state_dict())
        self._average.eval()
        self.keep_best()
        self._steps = 0
        self.prepare_training(config.learning_rate)

    def _built(self, config: TeacherConfig) -> StarDistNetwork:
        network = StarDistNetwork(config).to(self._device)
        return convert_conv2d_weight_memory_format(network, torch.channels_last)

    def prepare_training(self, learning_rate: float) -> None:
        """A new optimiser for ``train_step``."""
        self._optimiser = torch.optim.AdamW(self._network.parameters(), learning_rate, weight_decay=1e-4)

    def init_radius(self, radius: float) -> None:
        """Let the network start from this distance along every ray instead of 0: it saves epochs."""
        for network in (self._network, self._average):
            nn.init.constant_(network.dist.bias, radius)  # type: ignore[arg-type]

    def train_step(self, batch: StarDistBatch, learning_rate: float) -> float:
        """One step on a batch; returns the loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._network.train()
        loss = self._loss(self._network, batch)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
        self._optimiser.step()
        self._steps += 1
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def validation_loss(self, batch: StarDistBatch) -> float:
        """The loss of the averaged network on a batch, without a training step."""
        return float(self._loss(self._average, batch))

    def keep_best(self) -> None:
        """Remember the averaged weights as they are now as the best ones."""
        self._best = {name: value.clone() for name, value in self._average.state_dict().items()}

    def use_best(self) -> None:
        """Take the weights that ``keep_best`` remembered."""
        self._average.load_state_dict(self._best)

    def arrays(self) -> list[NDArray[np.float32]]:
        """The averaged network's weights, for ``StarDistProcess.load_network``."""
        return self._average.arrays()

    def save_state(self, path: Path, record: Mapping[str, float]) -> None:
        """Weights, averages, best weights, optimiser and the training loop's numbers, with a checksum."""
        tensors = {f"network.{k}": v for k, v in self._network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self._best.items()}
        tensors |= optimiser_tensors(self._optimiser)
        save_state(tensors, path, {name: repr(float(value)) for name, value in record.items()})

    def load_state(self, path: Path) -> dict[str, float]:
        """Continue from ``save_state``; returns its record.

        Raises DamagedStateError where the file is cut off or damaged, TrainingError where it does not fit.
        """
        tensors, facts = load_state(path)
        try:
            self._network.load_state_dict(under(tensors, "network."))
            self._average.load_state_dict(under(tensors, "best."))
            self.keep_best()
            self._average.load_state_dict(under(tensors, "average."))
            load_optimiser(self._optimiser, tensors)
        except (RuntimeError, ValueError) as error:
            reason = "does not fit the teacher's settings"
            raise TrainingError(path, reason, "Train again without --resume") from error
        record = {name: float(value) for name, value in facts.items()}
        self._steps = round(record["epoch"]) * self._steps_per_epoch
        return record

    def _loss(self, network: StarDistNetwork, batch: StarDistBatch) -> Tensor:
        image, prob, dist = (self._tensor(array) for array in (batch.image, batch.prob, batch.dist))
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16_pays(self._device.type)):
            logits, distances = network(image)
        return stardist_loss(logits.float(), distances.float(), prob, dist)

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average follows fast at first: otherwise the random initial decoder would stay in it for long.
        decay = min(_DECAY, (1 + self._steps) / (10 + self._steps))
        pairs = zip(self._average.state_dict().values(), self._network.state_dict().values(), strict=True)
        for mean, now in pairs:
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._device, torch.float32)
        return tensor.permute(0, 3, 1, 2)


def stardist_loss(logits: Tensor, distances: Tensor, prob: Tensor, dist: Tensor) -> Tensor:
    """StarDist's loss: mean_{y >= 0}[BCE(p, y)] + 0.2 mean_w[mean over rays |d - d'|].

    logits, prob : (n, 1, h, w), of p, and y: -1 where unknown.
    distances    : (n, rays, h, w), d' in pixels.
    dist         : (n, rays + 1, h, w), d, and the weight w of each pixel.
    Schmidt et al., MICCAI 2018; normalised by the mean of w as StarDist 0.9 does.
    """
    known = (prob >= 0).float()
    entropy = functional.binary_cross_entropy_with_logits(logits, prob.clamp_min(0), reduction="none")
    error = (dist[:, :-1] - distances).abs().mean(dim=1, keepdim=True)
    return weighted_mean(entropy, known) + _DISTANCES * weighted_mean(error, dist[:, -1:])
