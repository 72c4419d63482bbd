"""Embeddings of prompts by the text encoders of a Stable Diffusion pipeline (the extra `text`)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.errors import UserError
from lgd.storage.files import load_tensors_and_metadata, save_tensors

from .autoencoder_networks import check_files, complete, reading_network, variant_of

KEPT = "prompts.safetensors"
"""the file of embeddings in a run's folder of the generator"""
ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
"""folders of a pipeline's text encoders, and those of their tokenizers; SDXL has both"""
TOGETHER = 32
"""prompts in a batch"""


def check_prompts(folder: Path, prompts: Sequence[str]) -> None:
    """Find out before any work whether a pipeline's encoders can be given these prompts.

    Errors: UserError for a tokenizer that is missing or corrupt, for weights that are missing, for a prompt that is too
    long, and without the library transformers.
    """
    for encoder in encoders_of(folder):
        check_files(folder / encoder)
        tokenizer = tokenizer_of(folder / ENCODERS[encoder])
        for prompt in prompts:
            count = len(tokenizer(prompt, verbose=False).input_ids)
            if count > tokenizer.model_max_length:
                raise UserError(
                    f"a prompt of {count} tokens, of which {folder / encoder} sees {tokenizer.model_max_length}:"
                    f" {prompt:.60}..."
                )


def encoders_of(folder: Path) -> list[str]:
    return [name for name in ENCODERS if name == "text_encoder" or (folder / name).is_dir()]


def tokenizer_of(folder: Path) -> Any:
    """Load a tokenizer. Errors: UserError."""
    try:
        from transformers import CLIPTokenizer
    except ImportError:
        raise UserError(f"{folder}: prompts need the library transformers: pip install 'lgd[text]'") from None
    plain = all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    if not plain and not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder}: no tokenizer; it needs vocab.json and merges.txt, or tokenizer.json")
    with reading_network(folder, "transformers"):
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def embed(folder: Path, prompts: Sequence[str], kept: Path | None) -> dict[str, Tensor]:
    """Return the embeddings of prompts by a pipeline's encoders, computed on the CPU in float32.

    `hidden` (P, L, D) is the last layer's output, of SDXL the last but one's of both encoders side by side, and
    `pooled` (P, D) the second encoder's projection. kept: a folder, from which they are read when it has them and
    where they are written. Errors: UserError.
    """
    record = {"prompts": json.dumps(list(prompts))}
    if kept and (kept / KEPT).is_file():
        tensors, before = load_tensors_and_metadata(kept / KEPT)
        if before == record:
            return tensors
    names = encoders_of(folder)
    parts = [encode(folder / name, tokenizer_of(folder / ENCODERS[name]), prompts, len(names) > 1) for name in names]
    tensors = {"hidden": torch.cat([part["hidden"] for part in parts], dim=-1)}
    if len(parts) > 1:
        tensors["pooled"] = parts[-1]["pooled"]
    if kept:
        save_tensors(kept / KEPT, tensors, record)
    return tensors


@torch.no_grad()
def encode(folder: Path, tokenizer: Any, prompts: Sequence[str], penultimate: bool) -> dict[str, Tensor]:
    """Return what one encoder makes of prompts. Errors: UserError for weights that cannot be loaded."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection
    from transformers.utils import logging

    kind: Any = CLIPTextModelWithProjection if folder.name == "text_encoder_2" else CLIPTextModel
    check_files(folder)
    logging.disable_progress_bar()
    with reading_network(folder, "transformers"):
        network, info = kind.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            dtype=torch.float32,
            variant=variant_of(folder),
        )
    complete(network, info["missing_keys"], folder).eval()
    rows: dict[str, list[Tensor]] = {"hidden": [], "pooled": []}
    for start in range(0, len(prompts), TOGETHER):
        tokens = tokenizer(
            list(prompts[start : start + TOGETHER]),
            padding="max_length",
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        )
        mask = tokens.attention_mask if getattr(network.config, "use_attention_mask", False) else None
        found = network(tokens.input_ids, attention_mask=mask, output_hidden_states=penultimate)
        rows["hidden"].append(found.hidden_states[-2] if penultimate else found[0])
        rows["pooled"].append(found[0])
    return {name: torch.cat(parts) for name, parts in rows.items()}
