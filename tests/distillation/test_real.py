"""Real candidates: against a loop over single images, and runs that need no generator."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from tests.cli.test_main import toml
from tests.conftest import resources_of
from torch.nn import functional as F

from lgd.cli.main import main
from lgd.config import Config, with_values
from lgd.data.imageset import ImageSet
from lgd.data.splits import cached_splits
from lgd.distillation.layout import Run
from lgd.distillation.methods.checks import check_method
from lgd.distillation.selection import CandidateScores, rule_named
from lgd.distillation.store import Candidate, Row, read_latents, read_manifest
from lgd.errors import UserError
from lgd.experiments.distill import distill
from lgd.experiments.resolve import resolve
from lgd.experiments.status import run_status
from lgd.storage.files import load_tensors


@pytest.fixture(scope="module")
def settings(tiny: Config) -> Config:
    """Return a run of real images whose last increment has too few candidates in the smallest class."""
    values = {
        "method": "lgd-real",
        "stages.selection": "easiest-unlearned",
        "stages.unlearned_above": 2.2,
        "stages.images_per_increment": 3,
        "real.candidates": 5,
        "real.pool": 20,
        "evaluation.seeds": 1,
    }
    return with_values(tiny, values)


@pytest.fixture(scope="module")
def run(settings: Config, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return distill(settings, tmp_path_factory.mktemp("real") / "run")


def rows_of(run: Run, increment: int, label: int) -> list[Row]:
    return [row for row in read_manifest(run.increment(increment)) if row.label == label]


def test_real_candidates_equal_a_loop_over_single_images(settings: Config, run: Run) -> None:
    """Every candidate is measured as the networks see it alone; the rule keeps one; none comes twice."""
    train = cached_splits(settings.dataset).train
    for label in (0, 7):
        pool = set(load_tensors(run.root / f"real/losses-20/{label:04d}.safetensors")["members"].tolist())
        assert len(pool) == 20
        kept = [row.source for row in rows_of(run, 1, label)]
        for increment in (2, 3):
            resources = resources_of(settings, run.root, increment, range(10))
            rows = rows_of(run, increment, label)
            candidates = [candidate for row in rows for candidate in row.candidates]
            names = [candidate.real for candidate in candidates]
            assert len(set(names)) == len(names)
            assert set(names) <= pool - set(kept)
            assert len(names) == min(15, len(pool - set(kept)))  # the pool holds 20, some of them kept before
            assert {len(row.candidates) for row in rows} <= {len(names) // 3, -(-len(names) // 3)}
            for row in rows:
                for candidate in row.candidates:
                    assert candidate.seed is None
                    assert candidate.real is not None
                    assert train.labels[candidate.real] == label
                    x, y = train.pixels(torch.tensor([candidate.real])) / 255, torch.tensor([label])
                    learner, reference = (
                        F.cross_entropy(net(x), y) for net in (resources.learners[0], resources.reference)
                    )
                    assert candidate.learner_loss == pytest.approx(learner.item(), rel=1e-4)
                    assert candidate.reference_loss == pytest.approx(reference.item(), rel=1e-4)
                    assert candidate.score == pytest.approx((learner - reference).item(), abs=1e-4)
                    assert candidate.valid == (resources.reference(x).argmax(1) == y).item()
                assert row.chosen == choice(row.candidates, settings)
                assert row.source == row.candidates[row.chosen].real
            kept += [row.source for row in rows]


def choice(candidates: tuple[Candidate, ...], config: Config) -> int:
    columns = zip(*((c.score, c.learner_loss, c.reference_loss, c.valid) for c in candidates), strict=True)
    scores = CandidateScores(*(torch.tensor([list(column)]) for column in columns))
    return int(rule_named(config.stages.selection).choose(scores, config.stages))


def test_no_generator_is_made_planned_or_shown(settings: Config, run: Run, tmp_path: Path) -> None:
    assert not (run.root / "generator").exists()
    assert "generator" not in run_status(run.root)
    preset, found = toml(settings, tmp_path / "tiny.toml"), tmp_path / "plan.json"
    assert main(["plan", str(preset), "--count", "--quiet", "--json", str(found)]) == 0
    phases = [phase["name"] for phase in json.loads(found.read_text())["phases"]]
    assert phases == ["reference", "judge", "real images", "learners", "images", "evaluation"]


def test_the_card_counts_real_images(run: Run, tmp_path: Path) -> None:
    assert main(["export", str(run.root), "--to", "imagefolder", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "90 real training images of 10 classes" in card
    assert "Generator: none" in card


def test_hybrid_lets_real_and_sampled_candidates_compete(tiny: Config, finished: Path, tmp_path: Path) -> None:
    """Its sampled candidates before the first kept real image are those of `lgd`; kept real images get latents."""
    values = {"method": "hybrid", "stages.increments": 2, "real.candidates": 3, "real.order": "herding"}
    values |= {"evaluation.seeds": 1, "evaluation.redundancy_seeds": 0}
    run = distill(with_values(tiny, values), tmp_path / "run")
    rows = read_manifest(run.increment(2))
    assert {tuple(candidate.seed is None for candidate in row.candidates) for row in rows} == {
        (False,) * 2 + (True,) * 3
    }
    assert 0 < sum(row.source is not None for row in rows) < len(rows)
    assert all((row.source is None) == (row.candidates[row.chosen].seed is not None) for row in rows)
    train = cached_splits(tiny.dataset).train
    latents = read_latents(run.increment(2))
    real = next(row for row in rows if row.source is not None)
    expected = train.pixels(torch.tensor([real.source]))[0] / 127.5 - 1
    torch.testing.assert_close(latents[real.class_name][real.slot], expected)
    first = {(r.label, r.candidates[0].score) for r in read_manifest(Run(finished).increment(2)) if r.slot == 0}
    assert first == {(row.label, row.candidates[0].score) for row in rows if row.slot == 0}
    assert main(["export", str(run.root), "--to", "imagefolder", "--out", str(tmp_path / "out"), "--quiet"]) == 0
    count = sum(row.source is not None for row in rows)
    assert f"{40 - count} synthetic and {count} real training images" in (tmp_path / "out" / "README.md").read_text()


def small_set() -> ImageSet:
    labels = torch.tensor([0] * 30 + [1] * 12)
    return ImageSet(torch.zeros(42, 1, 8, 8, dtype=torch.uint8), labels, ("many", "few"))


def test_too_few_real_candidates_are_told_once(settings: Config, caplog: pytest.LogCaptureFixture) -> None:
    config = with_values(settings, {"real.pool": 0})
    with caplog.at_level(logging.INFO, "lgd"):
        check_method(config, small_set())
        check_method(with_values(config, {"real.candidates": 2}), small_set())
    (record,) = caplog.records
    assert record.message == (
        "lgd-real: class 'few' has 6 real images left for the last increment, fewer than the 15 candidates asked for;"
        " all of them compete"
    )


def test_too_small_a_pool_and_a_seed_method_with_a_generator_are_refused(settings: Config) -> None:
    with pytest.raises(UserError, match=r"real\.pool: 8 images are fewer than the 9 per class asked for"):
        check_method(with_values(settings, {"real.pool": 8}), small_set())
    with pytest.raises(UserError, match=r"real\.seed_method: 'dit' cannot .* use one of random, herding, k-c"):
        check_method(with_values(settings, {"real.seed_method": "dit"}), small_set())


def test_a_generator_that_is_not_used_is_told_and_not_opened(
    settings: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = with_values(settings, {"generator.source": str(tmp_path / "none")})
    with caplog.at_level(logging.INFO, "lgd"):
        resolve(config)
    assert "generator.source: not used, because lgd-real selects real images" in caplog.messages


def test_a_chosen_value_that_the_method_replaces_is_told(settings: Config, caplog: pytest.LogCaptureFixture) -> None:
    config = with_values(settings, {"method": "lgd-real-easiest", "stages.selection": "score"})
    with caplog.at_level(logging.INFO, "lgd"):
        resolve(config)
        resolve(with_values(config, {"stages.selection": "easiest-unlearned"}))
        resolve(with_values(config, {"stages.selection": "valid-first"}))  # the default
    told = [message for message in caplog.messages if message.startswith("stages.selection")]
    assert told == ["stages.selection: lgd-real-easiest sets easiest-unlearned, not score"]
