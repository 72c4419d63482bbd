"""Prompts of classes, from templates or from a table."""

import re
from collections.abc import Sequence

from lgd.config import PromptConfig
from lgd.errors import UserError

from .class_map import imagenet_labels, listed, read_class_table

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
