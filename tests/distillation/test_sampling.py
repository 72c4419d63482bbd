"""Fast ways of drawing against the slow, obvious ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.denoisers import of_noise
from torch import Tensor

from lgd.config import Config, with_values
from lgd.diffusion.types import Step
from lgd.distillation.methods import sampling as drawing_module
from lgd.distillation.methods.sampled import sample_lgd, sample_unguided
from lgd.distillation.methods.sampling import SamplingContext as Common
from lgd.distillation.methods.sampling import decoded, sample_slots
from lgd.distillation.resources import Resources
from lgd.distillation.store import Run, SelectedImage
from lgd.guidance.deviation import deviation_guided
from lgd.guidance.learnability import in_window, learnability_guided
from lgd.profiling.igd_reference import lineage_slot
from lgd.rng import image_seed


def materials_of(config: Config, finished: Path, classes: range = range(10)) -> Resources:
    return Resources(config, Run(finished), finished, 2, classes)


@pytest.mark.parametrize(
    ("space", "scheduler", "scale"), [("noise", "ddpm", 1.5), ("noise", "dpm++", 1.0), ("sample", "ddpm", 1.5)]
)
def test_fast_drawing_equals_the_lineage_loop(
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
    resources = materials_of(config, finished, range(2, 4))
    for item in sample_lgd(resources):
        seeds = [image_seed(0, 2, item.label, item.slot, k) for k in range(3)]
        latents, scores = lineage_slot(
            resources.generator, resources.learners, resources.reference, config, item.label, seeds
        )
        assert [candidate.seed for candidate in item.candidates] == seeds
        torch.testing.assert_close(item.latent, latents[item.chosen], rtol=1e-3, atol=1e-3)
        ours = torch.tensor([candidate.score for candidate in item.candidates])
        torch.testing.assert_close(ours, torch.tensor(scores), rtol=0.02, atol=0.02)


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
    expected = sample_lgd(materials_of(config, finished, range(4)))
    inner, calls = drawing_module.sample, []

    def scarce(denoiser: Any, scheduler: Any, noise: Tensor, streams: Sequence[torch.Generator], **rest: Any) -> Tensor:
        calls.append(len(noise))
        result = inner(denoiser, scheduler, noise, streams, **rest)
        if len(noise) > 3:  # late, when the streams have been drawn from
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return result

    monkeypatch.setattr(drawing_module, "sample", scarce)
    resources = materials_of(config, finished, range(4))
    for got, wanted in zip(sample_lgd(resources), expected, strict=True):
        assert (got.label, got.slot, got.chosen) == (wanted.label, wanted.slot, wanted.chosen)
        torch.testing.assert_close(got.latent, wanted.latent, rtol=1e-3, atol=1e-3)
        assert (got.image.int() - wanted.image.int()).abs().max() <= 1
    assert calls[:3] == [12, 6, 3]
    assert resources.batch_size == 3


def test_slots_without_memory_are_drawn_together(finished: Path, tiny: Config) -> None:
    """And are what they are slot by slot."""
    resources = materials_of(tiny, finished, range(3))
    together = sample_unguided(resources)
    config = with_values(tiny, {"guidance.strength": 0.0, "guidance.deviation": 0.0, "stages.candidates": 1})
    common = Common(resources, config, lambda d, *_: d, {label: torch.empty(0) for label in range(3)})
    apart: list[SelectedImage] = [item for slot in range(2) for item in sample_slots(common, [slot], False)]
    assert [(d.label, d.slot) for d in together] == [(d.label, d.slot) for d in apart]
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a.latent, b.latent, rtol=1e-3, atol=1e-3)


def test_guidance_has_a_decoder_of_its_own(finished: Path, tiny: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The small one guides, its pixels unclamped; what is ranked and stored comes from the generator's own, clamped."""
    asked: list[tuple[str, bool]] = []

    class Spy:
        def __init__(self, name: str, inner: Any) -> None:
            self.name, self.inner = name, inner

        def decode(self, z: Tensor, clamp: bool = True) -> Tensor:
            asked.append((self.name, clamp))
            return self.inner.decode(z, clamp)

    config = with_values(tiny, {"stages.candidates": 2})
    resources = materials_of(config, finished, range(1))
    own = Spy("own", resources.generator.autoencoder)
    resources.generator = replace(resources.generator, autoencoder=own)  # type: ignore[misc]
    resources.guiding = Spy("small", own.inner)  # type: ignore[misc, assignment]
    sample_lgd(resources)
    assert asked.count(("small", False)) == 2 * 6  # steps 6 to 1 of each slot
    assert asked.count(("own", True)) == 2
    assert len(asked) == 14
    assert decoded(resources, torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)
