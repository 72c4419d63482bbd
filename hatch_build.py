"""Build hook: the README of the package has absolute links, so that they work on a package index."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r'(?P<before>\]\(|(?:src|href)=")(?![a-z]+:|#)(?P<path>[^)"\s]+)')
PICTURES = (".png", ".svg")


class ReadmeHook(MetadataHookInterface):
    """Set the readme of the package's metadata."""

    def update(self, metadata: dict) -> None:
        """Add README.md, its links absolute where `[project.urls]` names the repository."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        if repository := metadata["urls"].get("Repository"):
            text = absolute(text, repository.rstrip("/"))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def absolute(text: str, repository: str) -> str:
    """Return Markdown whose links lead to the files of a repository on GitHub, and whose images are loaded from there.

    HEAD stands for the default branch.
    """

    def replaced(link: re.Match[str]) -> str:
        form = "raw" if link["path"].endswith(PICTURES) else "blob"
        return f"{link['before']}{repository}/{form}/HEAD/{link['path']}"

    return LINK.sub(replaced, text)
