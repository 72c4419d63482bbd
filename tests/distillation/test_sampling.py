"""Sampling in batches against slow loops over single images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from igd_reference import igd_candidates
from tests.conftest import resources_of
from tests.denoisers import of_noise
from tests.worked_examples import worked_example
from torch import Tensor
from torch.nn import functional as F

from lgd.config import Config, with_values
from lgd.diffusion.types import Step
from lgd.distillation.methods import sampling as sampling_module
from lgd.distillation.methods.base import Method
from lgd.distillation.methods.candidates import SamplingContext
from lgd.distillation.methods.sampled import sample_lgd, sample_unguided
from lgd.distillation.methods.sampling import SAMPLED, decode, sample_slots, score_candidates
from lgd.distillation.resources import Resources
from lgd.distillation.store import SelectedImage
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.learnability import in_window, learnability_guided
from lgd.rng import image_seed


def second_increment(config: Config, finished: Path, classes: range = range(10)) -> Resources:
    """Return the resources of increment 2 of a finished run."""
    return resources_of(config, finished, 2, classes)


@pytest.mark.parametrize(
    ("space", "scheduler", "scale"), [("noise", "ddpm", 1.5), ("noise", "dpm++", 1.0), ("sample", "ddpm", 1.5)]
)
def test_sampling_in_batches_equals_the_igd_reference_loop(
    space: str, scheduler: str, scale: float, finished: Path, tiny: Config
) -> None:
    """In batches, at equal settings: the same candidates, the same scores, the same choice."""
    config = with_values(
        tiny,
        {
            "guidance.space": space,
            "guidance.strength": 0.3 if space == "noise" else 30.0,
            "guidance.route": "denoiser",
            "guidance.deviation": 0.0,
            "sampling.scheduler": scheduler,
            "sampling.classifier_free_scale": scale,
            "stages.candidates": 3,
        },
    )
    resources = second_increment(config, finished, range(2, 4))
    for item in sample_lgd(resources):
        seeds = [image_seed(0, 2, str(item.label), item.slot, k) for k in range(3)]
        latents, scores = igd_candidates(resources, resources.config, item.label, seeds)
        assert [candidate.seed for candidate in item.candidates] == seeds
        torch.testing.assert_close(item.latent, latents[item.chosen], rtol=1e-3, atol=1e-3)
        ours = torch.tensor([candidate.score for candidate in item.candidates])
        torch.testing.assert_close(ours, scores.score, rtol=0.02, atol=0.02)


def test_every_second_step_is_guided_twice_as_strongly() -> None:
    """Against a window of single steps, and as a sum: a constant direction moves as far as with every step."""
    inner = lambda x, step: of_noise(torch.full_like(x, 2.0), x, step)  # noqa: E731
    score = lambda x0: x0.flatten(1).sum(1)  # noqa: E731
    x, memory = torch.ones(2, 1, 4, 4), [torch.randn(3, 1, 4, 4)] * 2
    config = with_values(
        Config(), {"guidance.window": (3, 10), "guidance.strength": 0.2, "guidance.deviation": 0.2}
    ).guidance
    for m in (1, 2, 3, 4):
        every = replace(config, every=m)
        guided = [i for i in range(12) if in_window(Step(i, 0, 0.5), every)]
        assert guided == [i for i in range(12) if 3 <= i <= 10 and (10 - i) % m == 0]
        moved = torch.zeros_like(x)
        for index in range(12):
            step = Step(index, 0, 0.5)
            own = learnability_guided(inner, score, every)(x, step).eps - inner(x, step).eps
            moved += own
            strong = replace(config, strength=0.2 * m, deviation=0.2 * m, window=(index, index))
            if index in guided:
                torch.testing.assert_close(own, learnability_guided(inner, score, strong)(x, step).eps - 2.0)
                away, wanted = (deviation_guided(inner, memory, c)(x, step).eps for c in (every, strong))
                torch.testing.assert_close(away, wanted)
        # eight steps of the window, one way: every m-th of them, m times as strong
        one = learnability_guided(inner, score, config)(x, Step(3, 0, 0.5)).eps - 2.0
        torch.testing.assert_close(moved, one * len(guided) * m)


def test_running_out_of_memory_changes_no_image(finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config = with_values(tiny, {"stages.candidates": 3})
    expected = sample_lgd(second_increment(config, finished, range(4)))
    inner, calls = sampling_module.sample, []

    def scarce(denoiser: Any, scheduler: Any, noise: Tensor, streams: Sequence[torch.Generator], **rest: Any) -> Tensor:
        calls.append(len(noise))
        result = inner(denoiser, scheduler, noise, streams, **rest)
        if len(noise) > 3:  # late, when the streams have been drawn from
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return result

    monkeypatch.setattr(sampling_module, "sample", scarce)
    resources = second_increment(config, finished, range(4))
    for got, wanted in zip(sample_lgd(resources), expected, strict=True):
        assert (got.label, got.slot, got.chosen) == (wanted.label, wanted.slot, wanted.chosen)
        torch.testing.assert_close(got.latent, wanted.latent, rtol=1e-3, atol=1e-3)
        assert (got.image.int() - wanted.image.int()).abs().max() <= 1
    assert calls[:3] == [12, 6, 3]
    assert resources.batch_size == 3


def test_slots_without_memory_are_sampled_together(finished: Path, tiny: Config) -> None:
    """And are what they are slot by slot."""
    resources = second_increment(tiny, finished, range(3))
    together = sample_unguided(resources)
    config = with_values(tiny, {"guidance.strength": 0.0, "guidance.deviation": 0.0, "stages.candidates": 1})
    context = SamplingContext(resources, config, lambda d, *_: d, {label: torch.empty(0) for label in range(3)})
    begun = [SAMPLED.begin(context)]
    apart: list[SelectedImage] = [item for slot in range(2) for item in sample_slots(context, begun, [slot])]
    assert [(d.label, d.slot) for d in together] == [(d.label, d.slot) for d in apart]
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a.latent, b.latent, rtol=1e-3, atol=1e-3)


def test_guidance_has_a_decoder_of_its_own(finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small one guides; what is ranked and stored comes from the generator's own."""
    asked: list[tuple[str, bool]] = []

    class Spy:
        def __init__(self, name: str, inner: Any) -> None:
            self.name, self.inner = name, inner

        def decode(self, z: Tensor, clamp: bool = True) -> Tensor:
            asked.append((self.name, clamp))
            return self.inner.decode(z, clamp)

    config = with_values(tiny, {"stages.candidates": 2})
    resources = second_increment(config, finished, range(1))
    own = Spy("own", resources.generator.autoencoder)
    resources.generator = replace(resources.generator, autoencoder=own)  # type: ignore[misc]
    resources.guiding = Spy("small", own.inner)  # type: ignore[misc, assignment]
    sample_lgd(resources)
    assert asked.count(("small", False)) == 2 * 6  # steps 6 to 1 of each slot
    assert asked.count(("own", True)) == 2
    assert len(asked) == 14
    assert decode(resources, torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("scored", [True, False])
def test_scores_are_measured_in_batches_on_the_stored_image(scored: bool, finished: Path, tiny: Config) -> None:
    """Against one image at a time; at most `sampling.batch_size` at once."""
    resources = second_increment(with_values(tiny, {"sampling.batch_size": 3, "stages.learners": 1}), finished)
    images = torch.randint(0, 256, (7, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels, sizes = torch.arange(7), []
    handle = resources.reference.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    found = score_candidates(resources, images, labels, 0.5, scored)
    handle.remove()
    assert sizes == [3, 3, 1]
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        x, y = image[None].float() / 255, label[None]
        learner, reference = (F.cross_entropy(net(x), y) for net in (resources.learners[0], resources.reference))
        torch.testing.assert_close(found.reference_loss[i], reference)
        assert found.valid[i] == (resources.reference(x).argmax() == label)
        if scored:
            torch.testing.assert_close(found.learner_loss[i], learner)
            torch.testing.assert_close(found.score[i], learner - 0.5 * reference)
    assert scored or (found.score.isnan().all() and found.learner_loss.isnan().all())


def test_deviation_looks_at_the_newest_latents_alone(
    finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Tensor]] = []
    monkeypatch.setattr(
        sampling_module, "deviation_guided", lambda denoiser, memory, config: seen.append(memory) or denoiser
    )
    config = with_values(tiny, {"guidance.memory": 3, "stages.images_per_increment": 3, "stages.candidates": 1})
    resources = second_increment(config, finished, range(1, 3))
    images = {(item.label, item.slot): item.latent for item in sample_lgd(resources)}
    stored = resources.memory()  # two of increment 1
    assert [[len(own) for own in memory] for memory in seen] == [[2, 2], [3, 3], [3, 3]]
    for place, label in enumerate((1, 2)):
        expected = torch.stack([stored[label][1], images[label, 0], images[label, 1]])  # type: ignore[list-item]
        assert torch.equal(seen[2][place], expected)


def test_the_worked_example_of_a_guidance_method(finished: Path, tiny: Config) -> None:
    """Its images have a lower loss of the reference than unguided ones from the same noise."""
    ((_, method),) = worked_example("../CONTRIBUTING.md", "Add a guidance method", {"Method": Method}).items()
    config = with_values(tiny, {"guidance.strength": 0.5, "guidance.deviation": 0.0})
    guided, unguided = (
        [image.candidates[0].reference_loss for image in sample(second_increment(config, finished))]
        for sample in (method.sample, sample_unguided)
    )
    assert len(guided) == 20
    assert sum(guided) < sum(unguided)  # type: ignore[arg-type]
