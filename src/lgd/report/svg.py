"""A matplotlib figure as SVG inside a page: it takes the page's colours and does not clash with its neighbours."""

from __future__ import annotations

import re
from io import BytesIO

import matplotlib
from markupsafe import Markup, escape
from matplotlib import pyplot as plt
from matplotlib.figure import Figure


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """The `<svg>` element of `figure`, which is closed.

    name: prefix of its ids, unique in the page. label: what a screen reader says.

    Black becomes the page's text colour and white its panel colour, so that one drawing serves light and dark.
    """
    buffer = BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = text.replace("#000000", "currentColor").replace("#ffffff", "var(--panel)")
    text = text.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")
    opening = f'<svg role="img" aria-label="{escape(label)}"'
    return Markup(text.replace("<svg", opening, 1))  # drawn by us: names in it are outlines of glyphs
