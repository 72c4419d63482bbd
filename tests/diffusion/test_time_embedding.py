"""Which frequencies a denoiser embeds its timestep with: DiT's own or those of diffusers' class."""

from __future__ import annotations

import copy
import shutil
from math import exp, log
from pathlib import Path

import pytest
import torch
from tests.diffusion import original_dit
from tests.diffusion.pipelines import new_pipeline, save_pipeline

from lgd.diffusion.families.dit import with_classes
from lgd.diffusion.finetune import for_difffit
from lgd.diffusion.folder import load_generator, load_source, save_generator
from lgd.diffusion.packed import Packed
from lgd.diffusion.pretrained import load_pipeline
from lgd.diffusion.time_embedding import frequencies_of, set_frequencies
from lgd.errors import UserError
from lgd.storage.files import read_json, write_json

T = torch.tensor([0, 1, 204, 510, 795, 999])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "dit"
    save_pipeline(path)
    return path


def marked(folder: Path, tmp_path: Path, value: object) -> Path:
    """A copy of the pipeline whose own JSON says the frequencies."""
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    write_json(copied / "generator.json", {"time_frequencies": value})
    return copied


def embedded(denoiser: torch.nn.Module, block: int = 0) -> torch.Tensor:
    return denoiser.transformer_blocks[block].norm1.emb.time_proj(T)  # type: ignore[union-attr,index,no-any-return]


def by_formula(frequencies: int) -> torch.Tensor:
    """cos, then sin, of t exp(-ln(10000) i / frequencies), i = 0..127."""
    angles = T.double()[:, None] * torch.tensor([exp(-log(10000) * i / frequencies) for i in range(128)]).double()
    return torch.cat([angles.cos(), angles.sin()], dim=1).float()


@pytest.mark.parametrize(("kind", "frequencies"), [("dit", 128), ("diffusers", 127)])
def test_the_folder_says_the_frequencies(folder: Path, tmp_path: Path, kind: str, frequencies: int) -> None:
    """For every block; the published weights were trained with 128."""
    denoiser = load_pipeline(marked(folder, tmp_path, kind)).denoiser
    for block in range(2):
        torch.testing.assert_close(embedded(denoiser, block), by_formula(frequencies), rtol=0, atol=2e-4)
    cosines = torch.cosine_similarity(by_formula(128), by_formula(127))
    assert cosines[-1] < 0.6  # at t = 999 the two are hardly alike


def test_a_block_is_conditioned_as_in_dit(folder: Path, tmp_path: Path) -> None:
    """Timestep and class to shift, scale and gate of attention and MLP, by DiT's formulas."""
    denoiser = load_pipeline(marked(folder, tmp_path, "dit")).denoiser
    block = denoiser.transformer_blocks[1].norm1
    own = {
        "t_embedder.mlp.0": block.emb.timestep_embedder.linear_1,
        "t_embedder.mlp.2": block.emb.timestep_embedder.linear_2,
        "block.adaLN_modulation.1": block.linear,
    }
    weights = {f"{name}.{kind}": getattr(layer, kind) for name, layer in own.items() for kind in ("weight", "bias")}
    weights["y_embedder.embedding_table.weight"] = block.emb.class_embedder.embedding_table.weight
    ids = torch.tensor([207, 3, 0, 999, 1000, 517])
    with torch.no_grad():
        c = original_dit.conditioning(weights, T, ids)
        shift, scale, *rest = original_dit.modulation(weights, "block", c)
        x = torch.randn(len(T), 5, 16, generator=torch.Generator().manual_seed(0))
        found, gate, shift_m, scale_m, gate_m = block(x, T, ids, hidden_dtype=torch.float32)
    expected = original_dit.normed(x.double()) * (1 + scale) + shift
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    for ours, theirs in zip((gate, shift_m, scale_m, gate_m), rest, strict=True):
        torch.testing.assert_close(ours.double(), theirs[:, 0], rtol=0, atol=1e-4 * float(theirs.abs().max()))


def test_packed_weights_and_copies_keep_the_frequencies(folder: Path, tmp_path: Path) -> None:
    """Packed training computes what the network does; a network for other classes has the source's frequencies."""
    denoiser = load_pipeline(marked(folder, tmp_path, "dit")).denoiser
    ids, x = torch.tensor([0, 1, 2, 3, 4, 4]), torch.randn(6, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    tuned = with_classes(denoiser, [207, 3, 0, None])
    assert frequencies_of(tuned) == "dit"
    with torch.no_grad():
        expected = tuned(x, timestep=T, class_labels=ids).sample
        other = set_frequencies(copy.deepcopy(tuned), "diffusers")(x, timestep=T, class_labels=ids).sample
        torch.testing.assert_close(Packed(tuned)(x, T, ids), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert (expected - other).abs().max() > 0.01 * expected.abs().max()
    assert frequencies_of(for_difffit(tuned)) == "dit"


def test_a_saved_generator_says_its_own(folder: Path, tmp_path: Path) -> None:
    """One that was tuned from DiT's weights has DiT's frequencies, a new one those of diffusers' class."""
    for kind in ("dit", "diffusers"):
        source = load_pipeline(marked(folder, tmp_path / kind, kind))
        save_generator(source, tmp_path / kind / "saved", folder / "vae")
        assert read_json(tmp_path / kind / "saved/generator.json") == {"time_frequencies": kind}
        assert frequencies_of(load_generator(tmp_path / kind / "saved").denoiser) == kind


def test_the_user_comes_first(folder: Path) -> None:
    assert frequencies_of(load_source(f"pretrained:{folder}").denoiser) == "diffusers"
    assert frequencies_of(load_source(f"pretrained:{folder}", frequencies="dit").denoiser) == "dit"


def test_what_lgd_saved_before_it_kept_a_record(folder: Path, tmp_path: Path) -> None:
    """It was trained with diffusers' class, whose frequencies it keeps."""
    save_generator(load_pipeline(folder), tmp_path / "old", folder / "vae")
    (tmp_path / "old/generator.json").unlink()
    assert frequencies_of(load_generator(tmp_path / "old").denoiser) == "diffusers"


def converted(folder: Path, same: bool) -> None:
    """Save a pipeline without a record, with one timestep embedder in all blocks, as a conversion makes it, or not."""
    pipeline = new_pipeline()
    if same:
        blocks = pipeline.transformer.transformer_blocks
        blocks[1].norm1.emb.load_state_dict(blocks[0].norm1.emb.state_dict())
    pipeline.transformer.save_pretrained(folder / "transformer")
    for part in ("vae", "scheduler"):
        getattr(pipeline, part).save_pretrained(folder / part)
    write_json(folder / "model_index.json", {"_class_name": "DiTPipeline"})


def test_a_conversion_shows_in_the_weights(tmp_path: Path) -> None:
    """DiT's own code has one timestep embedder; copies of it in every block tell where the weights are from."""
    converted(tmp_path / "dit", same=True)
    assert frequencies_of(load_pipeline(tmp_path / "dit").denoiser) == "dit"


def test_a_published_repository_is_known_by_name(tmp_path: Path) -> None:
    place = tmp_path / "hub/models--facebook--DiT-XL-2-256/snapshots/eab87f7"
    converted(place, same=False)
    assert frequencies_of(load_pipeline(place).denoiser) == "dit"


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    converted(tmp_path / "dit", same=False)
    with pytest.raises(
        UserError, match=r"dit: nothing tells the frequencies .* set generator\.time_frequencies .* to dit"
    ):
        load_source(f"pretrained:{tmp_path / 'dit'}")
    assert frequencies_of(load_source(str(tmp_path / "dit"), frequencies="diffusers").denoiser) == "diffusers"


@pytest.mark.parametrize("value", ["Dit", None, 128, ["dit"]])
def test_a_record_that_says_something_else_is_refused(folder: Path, tmp_path: Path, value: object) -> None:
    with pytest.raises(UserError, match=r"generator\.json: time_frequencies must be dit or diffusers, not"):
        load_pipeline(marked(folder, tmp_path, value))
