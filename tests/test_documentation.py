"""The site: links from page to page, reference pages made from the code, and the check of what was built.

`make docs` builds the site itself; warnings are errors there.
"""

from __future__ import annotations

import dataclasses
import email
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import hatchling.build
import pytest
from docs import hooks
from docs.check_site import problems

import lgd
from lgd.config import Config, with_values

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("target", "path", "source", "on_site"),
    [
        ("speed.md", "docs/method.md", "method.md", "speed.md"),
        ("../benchmarks/README.md", "docs/speed.md", "speed.md", "benchmarks/README.md"),
        ("../../benchmarks/profile.md", "docs/how-to/gpu.md", "how-to/gpu.md", "../benchmarks/profile.md"),
        ("docs/data.md", "README.md", "index.md", "data.md"),
        ("../docs/method.md", "benchmarks/README.md", "benchmarks/README.md", "../method.md"),
        ("../docs/pictures/own-digits.png", "benchmarks/x.md", "benchmarks/x.md", "../pictures/own-digits.png"),
        ("../README.md", "docs/data.md", "data.md", "index.md"),
        ("https://arxiv.org/abs/2604.00519", "README.md", "index.md", "https://arxiv.org/abs/2604.00519"),
    ],
)
def test_links_lead_to_the_same_page_on_the_site(target: str, path: str, source: str, on_site: str) -> None:
    assert hooks.link_on_site(target, path, source) == on_site


def test_a_link_to_a_file_that_the_site_lacks_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    hooks.link_on_site("../src/lgd/rng.py", "docs/method.md", "method.md")
    assert [record.getMessage() for record in caplog.records] == [
        "docs/method.md: the link ../src/lgd/rng.py leads to no file of the site"
    ]


def test_the_links_and_pictures_of_the_readme_exist() -> None:
    targets = [match["target"] for match in hooks.LINK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]
    local = [target for target in targets if not target.startswith("https://")]
    assert len(local) > 10
    assert not [target for target in local if not (ROOT / target).is_file()]


@pytest.mark.parametrize("address", ["https://github.com/owner/lgd", ""])
def test_the_package_has_absolute_links(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata of a wheel, built with and without the address that pyproject.toml has a place for."""
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "src/lgd/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    line = f'Repository = "{address}"\n' if address else ""
    changed = re.sub(r'^(# )?Repository = ".*"\n', line, project, flags=re.MULTILINE)
    assert changed != project
    (tmp_path / "pyproject.toml").write_text(changed, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    folder = hatchling.build.prepare_metadata_for_build_wheel(str(tmp_path))
    metadata = email.message_from_bytes((tmp_path / folder / "METADATA").read_bytes())
    assert metadata["Description-Content-Type"] == "text/markdown"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = metadata.get_payload(decode=True).decode()  # type: ignore[union-attr]
    if not address:
        assert found == readme
        return
    targets = [match["target"] for match in hooks.LINK.finditer(found)]
    assert len(targets) == len(hooks.LINK.findall(readme))
    assert all(target.startswith("https://") for target in targets)
    blobs, raws = (
        [t.removeprefix(start) for t in targets if t.startswith(start)]
        for start in (f"{address}/blob/HEAD/", f"{address}/raw/HEAD/")
    )
    assert "docs/python.md" in blobs
    assert raws == ["docs/pictures/digits-images.png"]
    assert all((ROOT / path).is_file() for path in [*blobs, *raws])


def test_every_term_of_the_glossary_is_linked() -> None:
    rows = re.findall(r"^\| (?!term|---)(.*)", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    terms = [re.match(r'<a id="([\w-]+)">', row) for row in rows]
    assert all(terms)
    pages = [ROOT / "README.md", *(page for page in ROOT.glob("docs/**/*.md") if page.name != "glossary.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert [term[1] for term in terms if term and f"glossary.md#{term[1]})" not in text] == []


def test_links_in_code_stay() -> None:
    class Page:
        class file:  # noqa: N801
            src_uri = "how-to/gpu.md"

    link = "](../../README.md)"
    text = f"[a](../data.md)\n\n    [b{link}\n\n```\n[c{link}\n```\n`[d{link}` [e](../../README.md#x)\n"
    found = hooks.on_page_markdown(text, Page, None, None)
    assert found == text.replace("[e](../../README.md#x)", "[e](../index.md#x)")


def leaves(part: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a configuration's fields."""
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def test_the_configuration_page_has_every_field_with_its_meaning() -> None:
    rows = re.findall(r"^\| `([\w.]+)` +\| (.*?) +\| (.*?) +\| (.*?) *\|$", hooks.configuration_page(), re.MULTILINE)
    assert [name for name, *_ in rows] == sorted(leaves(Config()), key=lambda name: "." in name)
    for name, values, _, meaning in rows:
        assert values, name
        assert meaning.endswith("."), name
    shown = {name: (values, default) for name, values, default, _ in rows}
    assert shown["guidance.omega"] == ("number, ≥ 0", f"`{Config().guidance.omega}`")
    assert shown["guidance.space"][0] == "`noise`, `sample`"


def test_the_ranges_shown_are_those_that_are_checked() -> None:
    row = next(row for row in hooks.configuration_page().splitlines() if row.startswith("| `dataset.test_fraction`"))
    assert "number, ≥ 0, &lt; 1" in row
    with pytest.raises(lgd.UserError):
        with_values(Config(), {"dataset.test_fraction": 1.0})


def test_the_python_page_has_every_public_name() -> None:
    headings = re.findall(r"heading: lgd\.(\w+)", hooks.python_page())
    assert headings == [name for name in lgd.__all__ if not name.startswith("__")]


def test_the_commands_page_has_every_command() -> None:
    from lgd.cli.main import COMMANDS

    headings = set(re.findall(r"^## lgd (\w+)", hooks.commands_page(), re.MULTILINE))
    assert headings == {name.split()[0] for name in COMMANDS}


def test_the_check_finds_dead_links_and_other_hosts(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top"><a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="#top">4</a>'
        '<a href="https://example.org">5</a><img src="x.png"><script src="https://example.org/x.js"></script>'
        '<link rel="stylesheet" href="//example.org/x.css"><link rel="canonical" href="https://example.org">'
        "<style>@import 'https://example.org/y.css'; p {background: url(data:x)}</style>"
    )
    (tmp_path / "b.html").write_text('<p id="there">')
    (tmp_path / "x.css").write_text("@font-face {src: url('https://example.org/f.woff')} p {background: url(x.png)}")
    assert sorted(problems(tmp_path)) == [
        "a.html: b.html#gone leads to no anchor",
        "a.html: c.html leads to no file",
        "a.html: loads //example.org/x.css",
        "a.html: loads https://example.org/x.js",
        "a.html: loads https://example.org/y.css",
        "a.html: x.png leads to no file",
        "x.css: loads https://example.org/f.woff",
    ]
