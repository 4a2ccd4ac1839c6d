"""The student: its receptive field, its dropout, and runs that can be repeated and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cellgennet_qupath.core.config import LossConfig, PseudoConfig, StudentConfig
from cellgennet_qupath.core.errors import TrainingError
from cellgennet_qupath.networks.encoder import EncoderUNet, load_imagenet_weights
from cellgennet_qupath.networks.geometry import receptive_field
from cellgennet_qupath.networks.network import build
from cellgennet_qupath.networks.torch_runtime import TorchRuntime
from cellgennet_qupath.networks.unet import layerwise_dropout
from cellgennet_qupath.training.batches import LabelledBatch, UnlabelledBatch
from cellgennet_qupath.training.student import StudentTrainer

SMALL = StudentConfig(architecture="unet", width=4, levels=3, patch=64)


def batches(step: int) -> tuple[LabelledBatch, UnlabelledBatch]:
    rng = np.random.default_rng(step)
    image = rng.random((2, 64, 64, 3), dtype=np.float32)
    labelled = LabelledBatch(
        image,
        rng.integers(-1, 2, (2, 64, 64)).astype(np.float32),
        rng.random((2, 64, 64), dtype=np.float32),
        rng.random((2, 64, 64)) < 0.1,
    )
    maps = rng.random((2, 32, 32, 2), dtype=np.float32)
    pasted = rng.random((2, 32, 32)) < 0.5
    return labelled, UnlabelledBatch(image, image[::-1].copy(), maps, maps, pasted)


def trained(steps: range, start: Path | None = None) -> StudentTrainer:
    trainer = StudentTrainer(SMALL, LossConfig(), PseudoConfig(), 8, seed=3)
    if start is not None:
        trainer.load_checkpoint(start)
    for step in steps:
        trainer.step(*batches(step))
    return trainer


ENCODER = StudentConfig(architecture="efficientnet-lite0", width=16, patch=64)


FINE = StudentConfig(architecture="efficientnet-lite0", stride=1, width=16, patch=64)


@pytest.mark.parametrize("config", [SMALL, StudentConfig(architecture="unet", width=4), ENCODER, FINE])
def test_receptive_field_bounds_what_a_pixel_can_change(config: StudentConfig) -> None:
    torch.manual_seed(0)
    model = build(config, torch.device("cpu")).double().eval()
    image = torch.rand(1, 3, 640, 640, dtype=torch.float64, requires_grad=True)
    model(image)[0, :, 320 // config.stride, 320 // config.stride].sum().backward()
    assert image.grad is not None
    touched = image.grad[0].abs().sum(0).nonzero()
    reach = max(int((320 - touched).max()), int((touched - 321).max()))
    assert reach <= receptive_field(config)
    assert reach > receptive_field(config) / 2


def test_the_encoder_starts_from_its_imagenet_weights() -> None:
    torch.manual_seed(0)
    device = torch.device("cpu")
    model, other = build(ENCODER, device), build(ENCODER, device)
    assert isinstance(model, EncoderUNet) and isinstance(other, EncoderUNet)
    load_imagenet_weights(model)
    load_imagenet_weights(other)
    # All tensors came from the file: two networks drawn at random agree in all of them.
    assert all(
        torch.equal(a, b) for a, b in zip(model.stages.parameters(), other.stages.parameters(), strict=True)
    )
    # Statistics of real images, not the zeros and ones of a fresh network.
    normalisation = model.stem[2]
    assert isinstance(normalisation, torch.nn.BatchNorm2d) and normalisation.running_var is not None
    assert float(normalisation.running_var.std()) > 0.01


def test_dropout_grows_with_depth() -> None:
    rates = layerwise_dropout(StudentConfig(levels=4, dropout=0.3))
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


def test_a_repeated_run_gives_the_same_weights(tmp_path: Path) -> None:
    trained(range(4)).save_weights(tmp_path / "a.safetensors")
    trained(range(4)).save_weights(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_resumed_run_equals_one_never_stopped(tmp_path: Path) -> None:
    trained(range(2)).save_checkpoint(tmp_path / "half.safetensors")
    trained(range(2, 4), tmp_path / "half.safetensors").save_weights(tmp_path / "a.safetensors")
    trained(range(4)).save_weights(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_loss_goes_down() -> None:
    config = StudentConfig(architecture="unet", width=8, levels=3, dropout=0, learning_rate=0.01)
    trainer = StudentTrainer(config, LossConfig(), PseudoConfig(), 60, seed=0)
    rng = np.random.default_rng(0)
    target = np.zeros((2, 64, 64), np.float32)
    target[:, 16:48, 16:48] = 1
    image = np.repeat(target[..., None], 3, axis=-1) + rng.normal(0, 0.1, (2, 64, 64, 3))
    touching = np.zeros(target.shape, bool)
    batch = LabelledBatch(image.astype(np.float32), target, target, touching)
    first = trainer.step(batch, None)["total"]
    for _ in range(40):
        last = trainer.step(batch, None)["total"]
    assert last < first / 3


def test_the_runtime_gives_what_the_trainer_gives(tmp_path: Path) -> None:
    trainer = trained(range(2))
    trainer.save_weights(tmp_path / "s.safetensors")
    image = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    maps = TorchRuntime(tmp_path / "s.safetensors", SMALL).predict(image)
    assert maps.shape == (1, 32, 32, 2)
    np.testing.assert_allclose(maps, trainer.predict(image), atol=0.02)


def test_a_checkpoint_of_other_settings_is_an_error(tmp_path: Path) -> None:
    trained(range(1)).save_checkpoint(tmp_path / "c.safetensors")
    other = StudentTrainer(SMALL.model_copy(update={"width": 8}), LossConfig(), PseudoConfig(), 8, seed=3)
    with pytest.raises(TrainingError, match="does not fit"):
        other.load_checkpoint(tmp_path / "c.safetensors")


def test_pasting_moves_images_and_targets_together() -> None:
    labelled, drawn = batches(0)

    def terms(batch: UnlabelledBatch) -> dict[str, float]:
        return StudentTrainer(SMALL, LossConfig(ramp_up=0), PseudoConfig(), 8, seed=3).step(labelled, batch)

    # All of every patch is the next one's: the same batch in another order.
    everywhere = replace(drawn, pasted=np.ones_like(drawn.pasted))
    nowhere = replace(drawn, pasted=np.zeros_like(drawn.pasted))
    rolled = UnlabelledBatch(
        np.roll(drawn.weak, -1, 0),
        np.roll(drawn.strong, -1, 0),
        np.roll(drawn.targets, -1, 0),
        np.roll(drawn.agreement, -1, 0),
        nowhere.pasted,
    )
    assert terms(everywhere)["distillation"] == pytest.approx(terms(rolled)["distillation"], rel=1e-3)
    assert terms(everywhere)["distillation"] != pytest.approx(terms(nowhere)["distillation"], rel=1e-5)


def test_the_learning_rate_decays_before_a_round_and_restarts_with_it() -> None:
    trainer = StudentTrainer(SMALL, LossConfig(), PseudoConfig(), 100, seed=3, rounds=[60])
    rates = []
    labelled, _ = batches(0)
    for _ in range(100):
        trainer.step(labelled, None)
        rates.append(trainer.learning_rate)
    maximum = SMALL.learning_rate
    assert rates[0] == pytest.approx(maximum / 3)  # 60 // 20 steps of warming up
    assert max(rates[:60]) == pytest.approx(maximum, rel=0.01)
    assert rates[59] == pytest.approx(0.02 * maximum, rel=0.05)
    assert max(rates[60:]) == pytest.approx(SMALL.restart * maximum, rel=0.01)
    assert rates[99] == pytest.approx(0.02 * SMALL.restart * maximum, rel=0.1)
