"""MkDocs hooks: pages from outside docs/, links between files of the repository, and pages generated from the code.

Links are written as a code host reads them: relative to the page's place in the repository.
"""

from __future__ import annotations

import ast
import dataclasses
import logging
import posixpath
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mkdocs.structure.files import File, Files
from tabulate import tabulate

ROOT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md"} | {
    path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
    for pattern in ("[A-Z]*.md", "LICENSE", "CITATION.cff", "notebooks/*.ipynb", "benchmarks/**/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "README.md" or path.parent != ROOT
}
"""files outside docs/ that the site has, too, by their path in the repository: their source path on the site"""
LINK = re.compile(r'(?P<before>\]\(|src="|href=")(?P<target>[^)\s"#]+)(?P<after>(?:#[^)\s"]*)?[)"])')
CODE = re.compile(r"(^```[\s\S]*?^```|^(?: {4}.*\n)+|`[^`\n]+`)", re.MULTILINE)
log = logging.getLogger("mkdocs.hooks.lgd")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/ and the generated ones."""
    for path, source in OUTSIDE.items():
        files.append(File.generated(config, source, abs_src_path=str(ROOT / path)))
    pages = {"python": python_page, "commands": commands_page, "configuration": configuration_page}
    for name, page in (pages | {"presets": presets_page}).items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Replace the links of a page by those of the site; code stays as it is."""
    source = page.file.src_uri
    path = {site: path for path, site in OUTSIDE.items()}.get(source, f"docs/{source}")

    def replaced(match: re.Match[str]) -> str:
        return match["before"] + link_on_site(match["target"], path, source) + match["after"]

    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(replaced, part) for part in parts[::2]]
    return "".join(parts)


def link_on_site(target: str, path: str, source: str) -> str:
    """Return the address on the site of a link's target, for a page at `path` in the repository.

    source: the page's source path on the site. A target that the site does not have is a warning.
    """
    if re.match(r"[a-z]+:", target):
        return target
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    site = OUTSIDE.get(found) or found.removeprefix("docs/")
    if found == site and found not in OUTSIDE:
        log.warning(f"{path}: the link {target} leads to no file of the site")
    return posixpath.relpath(site, posixpath.dirname(source) or ".")


def python_page() -> str:
    """Return the reference of the names that `lgd` exports, from their docstrings."""
    package = import_module("lgd")
    parts = ["# Functions and classes\n\nThe names of `dir(lgd)`. [Python](../python.md) shows how to use them.\n"]
    for name in [name for name in package.__all__ if name in package._HOMES]:
        home = package._HOMES[name]
        path = "lgd.guidance" if name == "guidance" else f"lgd.{home}.{name}"  # a room whole; of others, one name
        parts.append(f"::: {path}\n    options:\n      heading: lgd.{name}\n      toc_label: {name}\n")
    return "\n".join(parts)


def commands_page() -> str:
    """Return the commands with their options, from the dataclasses that make the command line."""
    from lgd.cli.main import COMMANDS, options_of

    parts = ["# Commands\n\nCommands with a configuration also take [its fields](configuration.md) as options.\n"]
    for command in COMMANDS:
        options = options_of(command)
        table = re.sub("^\\| `[a-z_]+`", as_option, option_table(options), flags=re.MULTILINE)
        parts += [f"## lgd {command}\n\n{escaped(options.__doc__ or '')}\n", table]
    return "\n".join(parts)


def as_option(match: re.Match[str]) -> str:
    """Return the first cell of a row with its field as an option of the command line."""
    return match[0].replace("_", "-").replace("`", "`--", 1)


def configuration_page() -> str:
    """Return the table of every field of the configuration."""
    from lgd.config import Config

    parts = [
        "# Configuration\n\nEvery field is an option of the commands (`--guidance.omega 0.5`), a key of a TOML file and"
        " a part of `lgd.Config`. Presets change the defaults: see [presets](presets.md).\n",
        option_table(Config),
    ]
    for field in dataclasses.fields(Config):
        if dataclasses.is_dataclass(getattr(Config(), field.name)):
            text = sentences(Config)[field.name]
            parts += [f"## {field.name}\n\n{text}\n", option_table(type(getattr(Config(), field.name)), field.name)]
    return "\n".join(parts)


def presets_page() -> str:
    """Return the presets: the TOML files of the package."""
    parts = [
        "# Presets\n\nA preset is a TOML file. Fields that it leaves out have [their defaults](configuration.md).\n"
    ]
    for path in sorted((ROOT / "src/lgd/config/presets").glob("*.toml")):
        parts.append(f"## {path.stem}\n\n```toml\n{path.read_text()}```\n")
    return "\n".join(parts)


def option_table(kind: type, prefix: str = "") -> str:
    """Return a Markdown table of a dataclass's fields, those of its parts included when there is a prefix."""
    rows = [
        (f"`{name}`", escaped(values), f"`{default}`" if default else "", escaped(text))
        for name, values, default, text in option_rows(kind, prefix)
    ]
    if not rows:
        return ""
    return tabulate(rows, ["name", "values", "default", "meaning"], tablefmt="pipe", disable_numparse=True) + "\n"


def escaped(text: str) -> str:
    """Return plain text for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def option_rows(kind: type, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, values, default and meaning of each field of a dataclass, and of its parts when there is a prefix."""
    hints, texts = get_type_hints(kind, include_extras=True), sentences(kind)
    for field in dataclasses.fields(kind):
        part = field.default_factory
        name = f"{prefix}.{field.name}" if prefix else field.name
        if not dataclasses.is_dataclass(part):
            default = "" if field.default in (dataclasses.MISSING, None, ()) else str(field.default)
            yield name, values_of(hints[field.name]), default, texts[field.name]
        elif prefix:
            yield from option_rows(part, name)


def values_of(hint: Any) -> str:
    """Return in words the values that a field of a type takes: its choices, or its type and range."""
    if get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(hint))
    words = {int: "whole number", float: "number", bool: "`true` or `false`", str: "text", Path: "path"}
    for kind, word in words.items():
        if hint is kind:
            return word
    arguments = [argument for argument in get_args(hint) if argument is not type(None) and argument is not ...]
    if get_origin(hint) is tuple:
        return "list of " + values_of(arguments[0]) + "s"
    limits = [limit for part in arguments[1:] for limit in getattr(part, "metadata", ())]
    signs = {"ge": "≥", "gt": ">", "lt": "<", "le": "≤"}
    bounds = [
        f"{sign} {getattr(limit, key):g}" for limit in limits for key, sign in signs.items() if hasattr(limit, key)
    ]
    shown = [f", {bound}" for bound in bounds if "e+" not in bound]
    return values_of(arguments[0]) + "".join(shown) if arguments else str(hint)


@cache
def parsed(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    return ast.parse(Path(import_module(module).__file__ or "").read_text())


def sentences(kind: type) -> dict[str, str]:
    """Return the string after each field of a dataclass, inherited ones included, by the field's name."""
    found: dict[str, str] = {}
    for base in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        nodes = ast.walk(parsed(base.__module__))
        (node,) = (n for n in nodes if isinstance(n, ast.ClassDef) and n.name == base.__name__)
        for field, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                words = " ".join(str(ast.literal_eval(text.value)).split())
                words = words.replace("[", "\\[")
                found[ast.unparse(field.target)] = re.sub(r"docs/([\w-]+)\.md", r"[\1](../\1.md)", words)
    return found
