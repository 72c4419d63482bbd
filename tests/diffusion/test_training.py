"""Training a generator: exact resume, the loss, the sources it learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.diffusion.pipelines import new_vae
from torch import Tensor
from torch.nn import functional as F

from lgd.config import DatasetConfig, GeneratorConfig
from lgd.data.imageset import ImageSet, to_float
from lgd.diffusion.autoencoder import Latents
from lgd.diffusion.autoencoder_networks import network_encode
from lgd.diffusion.checkpoint import load_checkpoint, save_checkpoint
from lgd.diffusion.families.dit import new_denoiser, with_plain_attention
from lgd.diffusion.latents import LatentSource, PixelSource, channel_moments, encode_latents
from lgd.diffusion.prediction_type import min_snr_weights
from lgd.diffusion.train import Training, begin, noise_schedule, rate_factor, train, weighted_loss
from lgd.diffusion.train_generator import GeneratorTraining, make_generator
from lgd.errors import NonFiniteError, UserError
from lgd.storage.files import load_tensors, read_json, read_json_lines, save_tensors, sha256

SMALL = GeneratorConfig(blocks=1, heads=2, head_width=8, steps=12, batch_size=6, warmup_steps=3, flip=True, min_snr=5.0)

SCHEDULE = noise_schedule(SMALL, 1.0)


def image_set(count: int = 20, shape: tuple[int, int, int] = (1, 8, 8)) -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=draw)
    return ImageSet(images, torch.arange(count) % 3, ("a", "b", "c"))


def fresh(config: GeneratorConfig = SMALL, images: ImageSet | None = None) -> tuple[Training, PixelSource, Tensor]:
    images = images or image_set()
    return begin(new_denoiser(config, images.shape, 3), config, len(images)), PixelSource(images), images.labels


def weights(state: Training) -> list[Tensor]:
    return [*(p.detach().clone() for p in state.denoiser.parameters()), *state.average.shadow_params]


def test_resumed_at_any_step_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """To the bit: weights, averages, losses. Steps 3 and 4 are the last of an epoch and the first of the next."""
    state, source, labels = fresh()
    path = tmp_path / "checkpoint.safetensors"
    for progress in train(state, source, labels, SCHEDULE, SMALL):
        if progress.step in (1, 3, 4, 7):
            save_checkpoint(tmp_path / f"{progress.step}.safetensors", state)
    assert state.step == 12
    for stop in (1, 3, 4, 7):
        again, source, labels = fresh()
        load_checkpoint(tmp_path / f"{stop}.safetensors", again)
        assert again.step == stop
        save_checkpoint(path, again)
        assert path.read_bytes() == (tmp_path / f"{stop}.safetensors").read_bytes()
        for _ in train(again, source, labels, SCHEDULE, SMALL):
            pass
        assert again.losses == state.losses
        assert all(map(torch.equal, weights(again), weights(state)))


@pytest.mark.parametrize("warmup", [0, 3])
def test_the_number_of_steps_may_be_settled_in_the_warm_up(warmup: int, tmp_path: Path) -> None:
    """To the bit: the generator, and what is written about its training."""
    own, images, asked = replace(SMALL, warmup_steps=warmup), image_set(), list[float]()

    def settle(step: float) -> GeneratorConfig:
        asked.append(step)
        return replace(own, steps=7)

    known = GeneratorTraining(replace(own, steps=7), DatasetConfig(), images, "cpu")
    make_generator(known, tmp_path / "known")
    make_generator(replace(known, config=own), tmp_path / "settled", settle=settle)
    assert len(asked) == 1
    assert (asked[0] > 0) == (warmup > 0)
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert sha256(tmp_path / "settled" / weights) == sha256(tmp_path / "known" / weights)
    rows = [read_json_lines(tmp_path / name / "training.jsonl") for name in ("known", "settled")]
    assert [[(row["step"], row["loss"]) for row in part] for part in rows] == [[(7, rows[0][0]["loss"])]] * 2


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    state, *_ = fresh()
    save_checkpoint(path, state)
    other, *_ = fresh(replace(SMALL, blocks=2))
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: not a checkpoint of this generator: 'denoiser"):
        load_checkpoint(path, other)
    path.write_bytes(b"half")
    with pytest.raises(UserError, match="not safetensors"):
        load_checkpoint(path, state)


def test_every_image_is_seen_once_an_epoch() -> None:
    """And labels belong to their images: each image is of one grey level, its label is the level modulo 3."""
    levels = torch.arange(20)
    images = ImageSet(levels.byte().view(-1, 1, 1, 1).expand(-1, 1, 8, 8), levels % 3, ("a", "b", "c"))
    seen: list[int] = []

    class Watched(PixelSource):
        def stream(self, chunks: object) -> Iterator[Tensor]:
            for pixels in super().stream(chunks):  # type: ignore[arg-type]
                seen.extend(pixels[:, 0, 0, 0].tolist())
                yield pixels

    config = replace(SMALL, steps=10, label_dropout=0.0)
    state, _, labels = fresh(config, images)
    given: list[Tensor] = []
    inner = state.denoiser.forward

    def spy(x: Tensor, timestep: Tensor, class_labels: Tensor) -> object:
        given.append(class_labels)
        return inner(x, timestep=timestep, class_labels=class_labels)

    state.denoiser.forward = spy
    list(train(state, Watched(images), labels, SCHEDULE, config))
    assert len(seen) == 60
    assert sorted(seen) == sorted(list(range(20)) * 3)
    assert sorted(seen[:18]) == sorted(set(seen[:18]))
    assert torch.equal(torch.cat(given), torch.tensor(seen) % 3)


def test_labels_are_dropped_once_per_image() -> None:
    config = replace(SMALL, steps=40, batch_size=20, label_dropout=0.3)
    state, source, labels = fresh(config)
    given: list[Tensor] = []
    for name, module in state.denoiser.named_modules():
        if name.endswith("class_embedder"):
            module.register_forward_hook(lambda m, inputs, output: given.append(inputs[0]))
    list(train(state, source, labels, SCHEDULE, config))
    per_step = torch.stack(given).view(40, -1, 20)  # the one block's embedding and the output's: the same labels
    assert (per_step == per_step[:, :1]).all()
    assert (per_step[:, 0] == 3).float().mean().item() == pytest.approx(0.3, abs=0.06)


def test_min_snr_weighs_by_its_formula() -> None:
    draw = torch.Generator().manual_seed(0)
    prediction, eps = torch.randn(2, 4, 1, 2, 2, generator=draw)
    weights = min_snr_weights(torch.tensor([0.1, 4.0, 5.0, 50.0]), 5.0, "epsilon")
    expected = sum(w * ((p - e) ** 2).mean() for w, p, e in zip([1.0, 1.0, 1.0, 0.1], prediction, eps, strict=True)) / 4
    torch.testing.assert_close(weighted_loss(prediction, eps, weights), expected)
    torch.testing.assert_close(weighted_loss(prediction, eps, None), F.mse_loss(prediction, eps))
    torch.testing.assert_close(weighted_loss(prediction, eps, None, "absolute"), (prediction - eps).abs().mean())
    never_below_1 = min_snr_weights(torch.tensor([0.0, 3.0, 50.0]), 5.0, "sample", offset=1.0)
    assert never_below_1.tolist() == [1.0, 4.0, 5.0]
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(SCHEDULE.alphas_cumprod.numpy(), alpha_bar, rtol=1e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "flow_prediction"])
def test_the_absolute_error_is_that_of_the_clean_sample(kind: str) -> None:
    """The first step's loss, against a loop over images that converts by hand an output of 0."""
    config = replace(SMALL, prediction=kind, loss="absolute", snr_offset=1.0, flip=False)  # type: ignore[arg-type]
    state, source, labels = fresh(config)
    for parameter in state.denoiser.proj_out_2.parameters():
        torch.nn.init.zeros_(parameter)
    order, draw = state.order[:6], torch.Generator()
    draw.set_state(state.draw.get_state())
    schedule = noise_schedule(config, 1.0)
    t = torch.randint(1000, (6,), generator=draw)
    eps = torch.randn((6, 1, 8, 8), generator=draw)
    expected = 0.0
    for image, e, abar in zip(image_set().images[order], eps, schedule.alphas_cumprod[t], strict=True):
        x0, s, n = to_float(image) * 2 - 1, abar.sqrt(), (1 - abar).sqrt()
        x_t = s * x0 + n * e
        implied = {"epsilon": x_t / s, "v_prediction": s * x_t, "flow_prediction": x_t / (s + n)}[kind]
        weight = min(1 + float(abar / (1 - abar)), config.min_snr)
        expected += weight * float((implied - x0).abs().mean()) / 6
    first = next(train(state, source, labels, schedule, config))
    assert first.loss == pytest.approx(expected, rel=1e-4)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    config = replace(SMALL, warmup_steps=4, steps=14)
    rates = [rate_factor(step, config) for step in range(15)]
    np.testing.assert_allclose(rates[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[9] == pytest.approx(0.5)
    assert rates[14] == pytest.approx(0.0)
    constant = replace(config, schedule="constant")
    assert [rate_factor(step, constant) for step in range(15)] == [*rates[:4], *[1.0] * 11]


def test_bfloat16_learns_alike() -> None:
    config = replace(SMALL, steps=4)
    losses = []
    for precision in ("float32", "bfloat16"):
        state, source, labels = fresh(replace(config, precision=precision))  # type: ignore[arg-type]
        list(
            train(
                state,
                source,
                labels,
                SCHEDULE,
                config if precision == "float32" else replace(config, precision="bfloat16"),
            )
        )
        assert next(state.denoiser.parameters()).dtype == torch.float32
        losses.append(state.losses)
    assert losses[0] != losses[1]
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)


def test_plain_attention_is_the_same_function() -> None:
    denoiser = new_denoiser(replace(SMALL, blocks=2), (1, 8, 8), 3).double()
    draw = torch.Generator().manual_seed(0)
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    x, t, y = torch.randn(2, 1, 8, 8, generator=draw).double(), torch.tensor([10, 500]), torch.tensor([0, 3])

    def outcome() -> list[Tensor]:
        denoiser.zero_grad()
        output = denoiser(x, timestep=t, class_labels=y).sample
        output.square().sum().backward()
        return [output.detach(), *(p.grad.clone() for p in denoiser.parameters())]

    fused = outcome()
    with_plain_attention(denoiser)
    torch.testing.assert_close(outcome(), fused, rtol=1e-9, atol=1e-9)


def test_nan_is_named_with_its_step() -> None:
    state, source, labels = fresh()
    steps = train(state, source, labels, SCHEDULE, SMALL)
    next(steps)
    torch.nn.init.constant_(state.denoiser.proj_out_2.bias, float("nan"))
    with pytest.raises(NonFiniteError, match="generator training: loss nan, gradient norm nan at step 1"):
        next(steps)


def test_pixels_are_mirrored_where_it_says_so() -> None:
    images = image_set(4)
    source = PixelSource(images)
    (item,) = source.stream([torch.arange(4)])
    flipped = source.latents(item, torch.tensor([True, False, False, True]))
    plain = to_float(images.images) * 2 - 1
    assert torch.equal(flipped, torch.stack([plain[0].flip(-1), plain[1], plain[2], plain[3].flip(-1)]))


@pytest.fixture(scope="module")
def autoencoder() -> Latents:
    torch.manual_seed(0)
    return Latents(new_vae().eval().requires_grad_(False), (3, 8, 8), 8, (0.0,), (1.0,))


def encoded(images: ImageSet, autoencoder: Latents, folder: Path, **values: object) -> LatentSource:
    options = {"flip": True, "made_from": {"autoencoder": "x"}, "advance": lambda count: None} | values
    return encode_latents(images, autoencoder, folder=folder, **options)  # type: ignore[arg-type]


def test_latents_are_encoded_once_and_normalised(autoencoder: Latents, tmp_path: Path) -> None:
    images = image_set(70, (3, 8, 8))
    source = encoded(images, autoencoder, tmp_path)
    x = to_float(images.images)
    raw = torch.stack([network_encode(autoencoder.network, x), network_encode(autoencoder.network, x.flip(-1))])
    mean, std = raw.mean((0, 1, 3, 4)), raw.std((0, 1, 3, 4), correction=0)
    chosen, flipped = torch.tensor([3, 69, 3]), torch.tensor([False, True, True])
    (item,) = source.stream([chosen])
    wanted = torch.stack([raw[0, 3], raw[1, 69], raw[1, 3]])
    expected = (wanted - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    torch.testing.assert_close(source.latents(item, flipped), expected, rtol=1e-2, atol=5e-3)
    torch.testing.assert_close(source.mean, mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(source.std, std, rtol=1e-3, atol=1e-4)

    counts: list[int] = []
    again = encoded(images, autoencoder, tmp_path, advance=lambda count: counts.append(count))
    assert counts == [70]  # nothing was encoded anew
    assert torch.equal(again.latents(item, flipped), source.latents(item, flipped))
    other = encoded(
        images, autoencoder, tmp_path, made_from={"autoencoder": "y"}, advance=lambda count: counts.append(count)
    )
    assert counts[1:] == [0, 32, 32, 6]
    assert np.array_equal(other.array, source.array)


def test_an_interrupted_encoding_goes_on(autoencoder: Latents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgd.diffusion.latents.SAVE_EVERY", 0.0)
    images = image_set(70, (3, 8, 8))
    whole = encoded(images, autoencoder, tmp_path / "whole").array
    done = 0

    def stop(count: int) -> None:
        nonlocal done
        done += count
        if done > 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoded(images, autoencoder, tmp_path / "half", advance=stop)
    assert read_json(tmp_path / "half/latents.json")["encoded"] == 32
    counts: list[int] = []
    source = encoded(images, autoencoder, tmp_path / "half", advance=lambda count: counts.append(count))
    assert counts == [32, 32, 6]
    assert np.array_equal(source.array, whole)


def test_moments_are_those_of_the_whole_array() -> None:
    array = np.random.default_rng(0).normal(3, 2, (2, 40, 3, 2, 2)).astype(np.float16)
    mean, std = channel_moments(array)
    np.testing.assert_allclose(mean, array.astype(float).mean((0, 1, 3, 4)))
    np.testing.assert_allclose(std, array.astype(float).std((0, 1, 3, 4)))


def test_what_is_saved_is_plain(tmp_path: Path) -> None:
    """The checkpoint's tensors can be put back into a file and read: nothing but safetensors."""
    state, source, labels = fresh()
    next(train(state, source, labels, SCHEDULE, SMALL))
    save_checkpoint(tmp_path / "a.safetensors", state)
    tensors = load_tensors(tmp_path / "a.safetensors")
    save_tensors(tmp_path / "b.safetensors", tensors)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert tensors["losses"].tolist() == state.losses
