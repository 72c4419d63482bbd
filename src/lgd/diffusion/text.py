"""Prompts of classes, and their embeddings by the encoders of a Stable Diffusion pipeline (the extra `text`)."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgd.config import PromptConfig
from lgd.errors import UserError
from lgd.storage.files import load_tensors_and_metadata, save_tensors

from .autoencoder_networks import check_files, complete, reading_network, variant_of
from .class_map import imagenet_labels, listed, read_class_table

KEPT = "prompts.safetensors"
"""the file of embeddings in a run's folder of the generator"""
ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
"""folders of a pipeline's text encoders, and those of their tokenizers; SDXL has both"""
TOGETHER = 32
"""prompts in a batch"""
TABLE_HINT = "write prompts into a TOML table [prompts] and give its file as generator.prompts.table"
WORDNET_ID = re.compile(r"n\d{8}")


def prompts_of(config: PromptConfig, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the prompts of each class.

    Errors: UserError for a template without a name in it, for names that make no prompt, and for a table that lacks a
    class.
    """
    if config.table:
        return prompts_of_table(config.table, class_names)
    for template in config.templates or ("",):
        if "{class}" not in template and "{words}" not in template:
            raise UserError(f"generator.prompts.templates: {template!r} holds neither {{class}} nor {{words}}")
    if any("{class}" in template for template in config.templates):
        check_names(class_names)
    names = [(spoken(name), words(name)) for name in class_names]
    if unknown := [name for name, (_, text) in zip(class_names, names, strict=True) if not text]:
        raise UserError(f"{listed(unknown)} not of ImageNet, so {{words}} has no words for it; {TABLE_HINT}")
    return tuple(
        tuple(template.replace("{class}", name).replace("{words}", text) for template in config.templates)
        for name, text in names
    )


def check_names(class_names: Sequence[str]) -> None:
    """Errors: UserError for names that say nothing to a text encoder: WordNet ids, and names without a letter."""
    ids = [name for name in class_names if WORDNET_ID.fullmatch(name)]
    if ids:
        known = ", ".join(f"{name}: {text}" for name in ids[:3] if (text := words(name)))
        offer = f" ({known}); write {{words}} for {{class}} in generator.prompts.templates, or" if known else ";"
        raise UserError(f"{listed(ids)} named by WordNet id, which makes no prompt{offer} {TABLE_HINT}")
    if wordless := [name for name in class_names if not any(map(str.isalpha, name))]:
        raise UserError(f"{listed(wordless)} named without a word, which makes no prompt; {TABLE_HINT}")


def prompts_of_table(path: str, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the prompts of each class in the table [prompts] of a TOML file. Errors: UserError naming the class."""
    table = read_class_table("generator.prompts.table", path, "prompts", class_names)
    if lacking := [name for name in class_names if name not in table]:
        raise UserError(f"generator.prompts.table: {path}: {listed(lacking)} not in its table [prompts]")
    found = []
    for name in class_names:
        prompts = [table[name]] if isinstance(table[name], str) else table[name]
        if not isinstance(prompts, list) or not prompts or not all(isinstance(p, str) and p.strip() for p in prompts):
            raise UserError(f"generator.prompts.table: {path}: {name!r} needs a prompt or a list of prompts")
        found.append(tuple(prompts))
    return tuple(found)


def spoken(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip()


def words(name: str) -> str:
    """Return the first words that ImageNet has for a WordNet id, "" for an unknown id; of any other name itself."""
    if not WORDNET_ID.fullmatch(name):
        return spoken(name)
    return imagenet_labels().get(name, "").partition(",")[0]


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
