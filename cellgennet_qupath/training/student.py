"""The optimisation step of the student, its averaged (EMA) copy, and both on disk.

Batches come as NumPy arrays; ``student_stage`` decides which.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..core.config import LossConfig, PseudoConfig, StudentConfig
from ..core.errors import DamagedStateError, TrainingError
from ..networks.device import bfloat16_pays
from ..networks.network import Network, build, init_pretrained
from ..networks.weights import WeightsError, read_weights
from . import losses
from .batches import LabelledBatch, UnlabelledBatch
from .geometry_task import GeometryTask
from .torch_state import load_optimiser, load_state, optimiser_tensors, save_state, save_tensors, under


class StudentTrainer:
    """AdamW on the joint objective with cosine schedules and an averaged copy of the student.

    The averaged copy is the result. The same seed and the same batches give the same weights on the same
    machine and number of threads.
    rounds : the steps at which the learning rate restarts, at ``config.restart`` of its first maximum
             (Loshchilov & Hutter, "SGDR", ICLR 2017).
    """

    def __init__(
        self,
        config: StudentConfig,
        loss: LossConfig,
        pseudo: PseudoConfig,
        total_steps: int,
        seed: int,
        device: str = "cpu",
        rounds: Sequence[int] = (),
    ) -> None:
        torch.manual_seed(seed)
        self._bounds = sorted({0, *rounds, total_steps})
        self._seed = seed
        self._loss = loss
        self._pseudo = pseudo
        self._config = config
        self._total = total_steps
        self._device = torch.device(device)
        self.step_count = 0
        self._model = build(config, self._device)
        if config.init is None:
            init_pretrained(self._model)
        else:
            _init_weights(self._model, config.init)
        self._average = build(config, self._device)
        self._average.load_state_dict(self._model.state_dict())
        self._average.eval()
        self._geometry = GeometryTask(config.width).to(self._device) if loss.geometry > 0 else None
        self._parameters = list(self._model.parameters())
        if self._geometry is not None:
            self._parameters += self._geometry.parameters()
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )

    def step(self, labelled: LabelledBatch, unlabelled: UnlabelledBatch | None) -> dict[str, float]:
        """One step of the joint objective; returns its terms, unweighted, and their weighted ``total``."""
        # Dropout draws from torch's own generator: tied to the step, it survives a resumed run.
        torch.manual_seed(self._seed * 1_000_003 + self.step_count)
        self._model.train()
        self._set_learning_rate()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16_pays(self._device.type)):
            terms = self._terms(labelled, unlabelled)
        weights = self._weights()
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        if not torch.isfinite(total):
            raise TrainingError(
                "student", f"the loss is not finite at step {self.step_count}", "Lower the learning rate"
            )
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 5.0)
        self._optimiser.step()
        self.step_count += 1
        self._update_average()
        return {name: float(term.detach()) for name, term in terms.items()} | {"total": float(total.detach())}

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self._optimiser.param_groups[0]["lr"])

    def _terms(self, labelled: LabelledBatch, unlabelled: UnlabelledBatch | None) -> dict[str, Tensor]:
        cfg, stride = self._loss, self._config.stride
        foreground, weight_f = _pooled(self._tensor(labelled.foreground), stride)
        objectness, known = _pooled(self._tensor(labelled.objectness), stride)
        touching, _ = _pooled(self._tensor(labelled.touching), stride)
        weight_o = losses.object_weight(known, touching, cfg.touching_weight)
        images = [_channels_first(self._tensor(labelled.image))]
        if unlabelled is not None:
            pasted = self._tensor(unlabelled.pasted)[:, None] > 0
            fine = pasted.repeat_interleave(stride, -1).repeat_interleave(stride, -2)
            images.append(_paste(_channels_first(self._tensor(unlabelled.strong)), fine))
        features = self._model.features(torch.cat(images))
        logits = self._model.maps(features).float()
        on_labels = logits[: len(foreground)]
        terms = {
            "bce": losses.binary_cross_entropy(on_labels[:, 0], foreground, weight_f),
            "tversky": losses.tversky(
                on_labels[:, 0], foreground, weight_f, cfg.tversky_alpha, cfg.tversky_beta
            ),
            "objectness": losses.binary_cross_entropy(on_labels[:, 1], objectness, weight_o),
        }
        if self._geometry is not None and labelled.geometry is not None:
            terms["geometry"] = self._geometry(
                features[: len(foreground)],
                _channels_first(self._tensor(labelled.geometry)),
                self._tensor(labelled.objectness),
                self._tensor(labelled.touching),
            )
        if unlabelled is not None:
            on_pseudo_labels = logits[len(foreground) :]
            soft = _paste(_channels_first(self._tensor(unlabelled.targets)), pasted)
            agreement = _paste(_channels_first(self._tensor(unlabelled.agreement)), pasted)
            confidence = losses.confidence(soft, agreement, self._pseudo.background_weight)
            terms["distillation"] = losses.distillation(on_pseudo_labels, soft, confidence)
            if cfg.consistency > 0:
                with torch.no_grad():
                    weak = _channels_first(self._tensor(unlabelled.weak))
                    view = _paste(torch.sigmoid(self._average(weak).float()), pasted)
                terms["consistency"] = losses.consistency(on_pseudo_labels, view, (agreement > 0).float())
        return terms

    def _weights(self) -> dict[str, float]:
        cfg = self._loss
        ramp = self._ramp(self.step_count)
        return {
            "bce": cfg.bce,
            "tversky": cfg.tversky,
            "objectness": cfg.objectness,
            "geometry": cfg.geometry,
            "distillation": cfg.distillation * ramp,
            "consistency": cfg.consistency * ramp,
        }

    def _ramp(self, step: int) -> float:
        return losses.ramp(step / self._total, self._loss.warm_up, self._loss.ramp_up)

    def _set_learning_rate(self) -> None:
        number = bisect_right(self._bounds[1:-1], self.step_count)
        begin, end = self._bounds[number : number + 2]
        done, length = self.step_count - begin, end - begin
        warm = min(1.0, (done + 1) / max(1, length // 20))
        cosine = 0.5 * (1 + np.cos(np.pi * min(1.0, done / length)))
        maximum = self._config.learning_rate * (self._config.restart if begin else 1)
        for group in self._optimiser.param_groups:
            group["lr"] = maximum * warm * (0.02 + 0.98 * cosine)

    @torch.no_grad()
    def _update_average(self) -> None:
        # The average follows fast at first: otherwise the random initial weights would stay in it for long.
        decay = min(self._config.ema, (1 + self.step_count) / (10 + self.step_count))
        for mean, now in zip(
            self._average.state_dict().values(), self._model.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device, torch.float32)

    @torch.no_grad()
    def predict(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps of the averaged student: (n, h, w, 3) -> (n, h / stride, w / stride, 2) probabilities."""
        maps = torch.sigmoid(self._average(_channels_first(self._tensor(images))).float())
        return maps.permute(0, 2, 3, 1).cpu().numpy()

    def save_weights(self, path: Path) -> None:
        """The averaged student as safetensors, written whole or not at all."""
        save_tensors(self._average.state_dict(), path, {})

    def save_checkpoint(self, path: Path, history: Sequence[Mapping[str, float]] = ()) -> None:
        """Everything that is needed to resume exactly, as safetensors, with its checksum.

        history : the terms of the loss in each epoch so far.
        """
        tensors = {f"model.{k}": v for k, v in self._model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self._average.state_dict().items()}
        if self._geometry is not None:
            tensors |= {f"geometry.{k}": v for k, v in self._geometry.state_dict().items()}
        tensors |= optimiser_tensors(self._optimiser)
        save_state(tensors, path, {"step": str(self.step_count), "history": json.dumps(list(history))})

    def load_checkpoint(self, path: Path) -> list[dict[str, float]]:
        """Continue from ``save_checkpoint``; returns its ``history``.

        Raises DamagedStateError where the file is cut off or damaged, TrainingError where it does not fit.
        The trainer cannot be used after either.
        """
        tensors, facts = load_state(path)
        remedy = "Train again without --resume"
        try:
            # Checkpoints of version 0.1 have no history.
            step, history = int(facts["step"]), json.loads(facts.get("history", "[]"))
        except (ValueError, KeyError) as error:
            raise DamagedStateError(path, "is cut off or damaged", remedy) from error
        try:
            self._model.load_state_dict(under(tensors, "model."))
            self._average.load_state_dict(under(tensors, "average."))
            # An empty module takes no tensors: a checkpoint with the auxiliary task does not fit without it.
            auxiliary = nn.Module() if self._geometry is None else self._geometry
            auxiliary.load_state_dict(under(tensors, "geometry."))
        except RuntimeError as error:
            raise TrainingError(path, "does not fit the settings", remedy) from error
        load_optimiser(self._optimiser, tensors)
        self.step_count = step
        return list(history)


def _init_weights(model: Network, weights: Path) -> None:
    state = _load(weights)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(
            weights, "contains a student of another shape", "Use the settings it was trained with"
        ) from error


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _paste(patches: Tensor, where: Tensor) -> Tensor:
    """Patches (n, c, h, w); ``where`` (n, 1, h, w) is true, each shows the next one of the batch."""
    return torch.where(where, patches.roll(-1, 0), patches)


def _pooled(label: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Mean and known share of each output sample, of labels of the image's samples (n, h, w), -1 unknown."""
    known = (label >= 0).float()
    weight = functional.avg_pool2d(known[:, None], stride)[:, 0]
    mean = functional.avg_pool2d((label * known)[:, None], stride)[:, 0] / weight.clamp_min(1e-6)
    return mean, weight


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return read_weights(path)
    except WeightsError as error:
        raise TrainingError(path, str(error), "Give student.init a whole file") from error
