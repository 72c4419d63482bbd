"""Check a built site: every link leads to a file and an anchor of it, and no page loads anything from another host.

python docs/check_site.py site
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "object": ("data",),
    "embed": ("src",),
}
"""by tag, the attributes whose address a browser loads by itself"""
LOADED_RELATIONS = {"stylesheet", "icon", "preconnect", "preload", "prefetch", "dns-prefetch", "modulepreload"}
"""relations of the tag `link` that make a browser load its address"""
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s;]+)""")


class Page(HTMLParser):
    """Links, anchors and addresses that are loaded, of one HTML file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loaded: list[str] = IN_STYLES.findall(text)
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "link" and LOADED_RELATIONS & set(found.get("rel", "").split()):
            self.loaded.append(found.get("href", ""))
        self.loaded += [found[name] for name in LOADED.get(tag, ()) if name in found]
        if tag == "a" and "href" in found:
            self.links.append(found["href"])


def problems(site: Path) -> Iterator[str]:
    """Yield a line for every dead link and every address of another host that a page or a style sheet loads."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name}: loads {address}" for address in page.loaded if is_elsewhere(address))
        local = [
            link for link in (*page.links, *page.loaded) if not is_elsewhere(link) and ":" not in link.split("/")[0]
        ]
        for link in local:
            address, anchor = urldefrag(unquote(link))
            # The page of errors is served at any depth, so its links are absolute.
            target = (site / address.lstrip("/") if address.startswith("/") else path.parent / address).resolve()
            target = path if not address else target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{name}: {link} leads to no file"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{name}: {link} leads to no anchor"
    for sheet in sorted(site.rglob("*.css")):
        for address in IN_STYLES.findall(sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site)}: loads {address}"


def is_elsewhere(address: str) -> bool:
    """Return whether an address names another host."""
    return bool(urlsplit(address).netloc)


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or f"{sys.argv[1]}: all links lead somewhere, and nothing is loaded from another host")
    sys.exit(bool(found))
