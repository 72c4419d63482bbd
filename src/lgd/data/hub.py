"""Data sets of the Hugging Face Hub, by the `datasets` library; from its cache where the Hub cannot be reached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lgd.config import DatasetConfig
from lgd.errors import UserError

from .parts import Listing, listing_of
from .table import Table, as_table, needs_hf
from .tree import JUDGING

NAME = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*")


def find_hub(name: str, config: DatasetConfig) -> Sequence[Listing]:
    """The split `train` and the first of `JUDGING` that has labels; or the one split there is."""
    tables = read_hub(name, config)
    if "train" not in tables and len(tables) > 1:
        raise UserError(f"hf:{name}: no split 'train' among {', '.join(tables)}")
    train = tables.get("train", next(iter(tables.values())))
    judging = [tables[split] for split in JUDGING if split in tables and bool((tables[split].labels >= 0).any())]
    return [
        listing_of(table.rows.where, table.rows, table.labels, table.names, f"{table.rows.where} {table.fingerprint}")
        for table in (train, *judging[:1])
    ]


def read_hub(source: str, config: DatasetConfig) -> dict[str, Table]:
    """The splits of NAME or NAME@REVISION. Errors: UserError."""
    datasets = needs_hf("datasets", "data sets of the Hub")
    name, _, revision = source.partition("@")
    if not NAME.fullmatch(name):
        raise UserError(f"hf:{source}: a name on the Hub is OWNER/NAME")
    if Path(name).exists():  # which `datasets` would read in place of the Hub's
        raise UserError(f"hf:{source}: there is a folder {name} here; folder:{name} reads it, elsewhere hf: the Hub's")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        builder = datasets.load_dataset_builder(name, revision=revision or None)
        builder.download_and_prepare()
        loaded = builder.as_dataset()
    except Exception as error:  # of many kinds, from four libraries
        reason = " ".join(str(error).split()) or type(error).__name__
        cache = datasets.config.HF_DATASETS_CACHE
        raise UserError(f"hf:{source}: neither to be had from the Hub nor in the cache {cache}: {reason}") from None
    if revision and is_offline(builder) and builder.hash != commit_of(name, revision):
        raise UserError(f"hf:{source}: the Hub cannot be reached, and the cache holds another revision, {builder.hash}")
    trusted = Path(datasets.config.HF_CACHE_HOME)
    return {
        str(split): as_table(part.data.table, f"hf:{name}, split {split!r}", builder.hash, config, trusted)
        for split, part in loaded.items()
    }


def is_offline(builder: Any) -> bool:
    """Whether `datasets` fell back to its cache, of whatever revision that is."""
    return type(builder).__module__.endswith("packaged_modules.cache.cache")


def commit_of(name: str, revision: str) -> str:
    """What a branch or tag stood for when the Hub was last asked; a commit stands for itself."""
    from huggingface_hub import constants

    reference = Path(constants.HF_HUB_CACHE, "datasets--" + name.replace("/", "--"), "refs", revision)
    return reference.read_text().strip() if reference.is_file() else revision
