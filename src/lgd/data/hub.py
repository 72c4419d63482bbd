"""Data sets of the Hugging Face Hub as a source; from the cache of `datasets` where the Hub cannot be reached."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgd.config import DatasetConfig
from lgd.errors import UserError, imported, in_one_line

from .part_names import first_choice, part_of
from .parts import Listing, listing_of
from .table import Piece, Table, as_table

NAME = re.compile(r"((?:[\w-][\w.-]*/)?[\w-][\w.-]*)(?::([^@:]+))?(?:@([^@:]+))?")


@dataclass(frozen=True)
class Cached:
    """A configuration of a set in the cache of `datasets`."""

    config: str
    version: str
    revision: str
    changed: float
    """seconds since the epoch"""


def find_hub(text: str, config: DatasetConfig) -> Sequence[Listing]:
    """List the training split and the first test split that has labels, or the one split there is."""
    datasets = imported("datasets", "data sets of the Hub need")
    builder, notes = opened(text)
    loaded = splits_of(builder, text)
    trusted = Path(datasets.config.HF_CACHE_HOME)
    tables = {
        split: as_table([Piece(part.data.table, f"hf:{text}, split {split!r}")], config, trusted)
        for split, part in loaded.items()
    }
    train, test, more = chosen_splits(tables, text)
    return [
        listing_of(
            f"hf:{text}, split {split!r}",
            tables[split].rows,
            tables[split].labels,
            tables[split].names,
            f"{text} {builder.config.name} {split} {builder.hash} {tables[split].columns}",
            (*notes, *more) if split == train else (),
        )
        for split in (train, *test)
    ]


def chosen_splits(tables: Mapping[str, Table], text: str) -> tuple[str, list[str], list[str]]:
    """The training split, the test split if there is one, and a message about the others. Errors: UserError."""
    training = [split for split in tables if part_of(split) == "train"]
    training = [split for split in training if split == "train"] or training
    if len(training) != 1 and len(tables) > 1:
        raise UserError(f"hf:{text}: no split 'train' among {', '.join(tables)}")
    train = training[0] if training else next(iter(tables))
    judging = first_choice(split for split in tables if part_of(split) in ("test", "validation"))
    test = [split for split in judging if bool((tables[split].labels >= 0).any())][:1]
    left_out = [
        split if bool((tables[split].labels >= 0).any()) else f"{split} (no labels)"
        for split in tables
        if split not in (train, *test)
    ]
    read = " and ".join((train, *test))
    return train, test, [f"hf:{text}: splits {read} are read; left out: {', '.join(left_out)}"] * bool(left_out)


def opened(text: str) -> tuple[Any, list[str]]:
    """The builder of NAME[:CONFIG][@REVISION], from the Hub or the cache, and messages. Errors: UserError."""
    import datasets

    match = NAME.fullmatch(text)
    if match is None:
        raise UserError(f"hf:{text}: a name on the Hub is OWNER/NAME, then :CONFIG and @REVISION if needed")
    name, config, revision = match.groups()
    if Path(name).exists():  # which `datasets` would read in place of the Hub's
        raise UserError(f"hf:{text}: there is a folder {name} here; folder:{name} reads it, elsewhere hf: the Hub's")
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    reason = "HF_HUB_OFFLINE is set"
    if not datasets.config.HF_HUB_OFFLINE:
        try:
            builder = datasets.load_dataset_builder(name, config, revision=revision)
            # Where it cannot reach the Hub, it takes its cache, whatever configuration and revision that holds.
            if not type(builder).__module__.endswith("packaged_modules.cache.cache"):
                return builder, other_configurations(builder, text, config)
        except Exception as error:  # of many kinds, from four libraries
            reason = in_one_line(error)
            if "pick one among" in reason:
                raise UserError(f"hf:{text}: name a configuration, as in hf:{name}:CONFIG: {reason}") from None
            if "in the cache" not in reason:
                raise unavailable(text, reason) from None
    there = cached(name, Path(datasets.config.HF_DATASETS_CACHE))
    if not there:
        raise unavailable(text, reason)
    one, notes = chosen(there, text, config, revision and commit_of(name, revision), commit_of(name, "main"))
    return from_cache(name, one), notes


def unavailable(text: str, reason: str) -> UserError:
    from datasets.config import HF_DATASETS_CACHE

    return UserError(f"hf:{text}: neither to be had from the Hub nor in the cache {HF_DATASETS_CACHE}: {reason}")


def splits_of(builder: Any, text: str) -> Any:
    """Download what is missing, and open the splits. Errors: UserError."""
    try:
        builder.download_and_prepare()
        return builder.as_dataset()
    except Exception as error:  # of many kinds, from four libraries
        raise unavailable(text, in_one_line(error)) from None


def other_configurations(builder: Any, text: str, asked: str | None) -> list[str]:
    """A message where a set has several configurations, of which its authors have named one the default."""
    others = [name for name in builder.builder_configs if name != builder.config.name]
    if asked or not others:
        return []
    return [f"hf:{text}: configuration {builder.config.name} is read; others: {', '.join(others)}"]


def cached(name: str, cache: Path) -> list[Cached]:
    """Configurations and revisions of a set in the cache of `datasets`."""
    from datasets.naming import camelcase_to_snakecase

    *owner, last = name.split("/")
    found = []
    for folder in cache.expanduser().joinpath("___".join([*owner, camelcase_to_snakecase(last)])).glob("*/*/*"):
        config, version, revision = folder.parts[-3:]
        try:
            made = json.loads((folder / "dataset_info.json").read_text("utf-8"))["config_name"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if made == config:  # and not one of other parameters
            found.append(Cached(config, version, revision, folder.stat().st_mtime))
    return sorted(found, key=lambda one: (one.config, one.changed))


def chosen(
    there: Sequence[Cached], text: str, config: str | None, revision: str | None, main: str
) -> tuple[Cached, list[str]]:
    """Choose the wanted splits among the cached ones; returns them with messages.

    main: the commit of the main branch, where it is known. Errors: UserError where it is not there, or several
    configurations are.
    """
    name = text.partition("@")[0].partition(":")[0]
    listed = ", ".join(f"{one.config}@{one.revision}" for one in there)
    configured = [one for one in there if config in (None, one.config)]
    fitting = [one for one in configured if revision in (None, one.revision)]
    if not configured:
        raise UserError(
            f"hf:{text}: the Hub cannot be reached, and the cache has no configuration {config!r}: {listed}"
        )
    if not fitting:
        others = ", ".join(sorted({one.revision for one in configured}))
        raise UserError(f"hf:{text}: the Hub cannot be reached, and the cache holds another revision, {others}")
    names = sorted({one.config for one in fitting})
    if len(names) > 1:
        raise UserError(f"hf:{text}: several configurations in the cache: {listed}; name one: hf:{name}:{names[0]}")
    one = next((one for one in fitting if one.revision == main), fitting[-1])
    if len(fitting) == 1:
        return one, []
    return one, [f"hf:{text}: the Hub cannot be reached; of {len(fitting)} cached revisions {one.revision} is read"]


def from_cache(name: str, one: Cached) -> Any:
    from datasets.packaged_modules.cache.cache import Cache

    return Cache(
        dataset_name=name.split("/")[-1], repo_id=name, config_name=one.config, version=one.version, hash=one.revision
    )


def commit_of(name: str, revision: str) -> str:
    """The commit that a branch or tag stood for when the Hub was last asked; a commit stands for itself."""
    from huggingface_hub import constants

    reference = Path(constants.HF_HUB_CACHE, "datasets--" + name.replace("/", "--"), "refs", revision)
    return reference.read_text().strip() if reference.is_file() else revision
