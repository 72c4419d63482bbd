"""The report in headless Chromium. Skipped where it is not installed, unless LGD_NEEDS_BROWSER is set."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lgd.cli.main import main

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER) and not os.environ.get("LGD_NEEDS_BROWSER"):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    assert CHROMIUM, "LGD_NEEDS_BROWSER is set, but chromium is not installed"
    assert DRIVER, "LGD_NEEDS_BROWSER is set, but chromedriver is not installed"
    options = Options()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    assert main(["report", str(finished), "--out", str(out), "--quiet"]) == 0
    return out


def visible(browser: Any) -> int:
    return len(browser.find_elements("css selector", "#grid button"))


def choose(browser: Any, select: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", select)).select_by_value(value)


def test_loads_without_errors_or_requests(browser: Any, page: Path) -> None:
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)  # of the browser's own start page
    start = time.monotonic()
    browser.get(page.as_uri())
    assert time.monotonic() - start < 120  # seconds; a busy machine is no failure, a hanging page is
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in urls
    assert [url for url in urls if not url.startswith(("data:", page.as_uri()))] == []
    figures = browser.find_elements("css selector", ".drawing img")
    assert len(figures) == 4
    for figure in figures:
        assert figure.get_attribute("alt")
        assert int(figure.get_property("naturalWidth")) > 100


def test_filters_and_detail(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    assert visible(browser) == 60  # 3 increments, 10 classes, 2 images each
    choose(browser, "by-class", "3")
    assert visible(browser) == 6
    choose(browser, "by-increment", "2")
    assert visible(browser) == 2
    assert browser.find_element("id", "count").text == "2 of 60 images"
    browser.find_element("css selector", "#grid button").click()
    dialog = browser.find_element("id", "detail")
    assert dialog.is_displayed()
    assert "3, increment 2" in dialog.text
    for word in ("learnability score", "seed", "nearest real image", "kept", "the judge sees"):
        assert word in dialog.text
    assert int(browser.execute_script("return document.getElementById('real').naturalWidth")) == 8
    browser.find_element("id", "close").click()
    choose(browser, "by-order", "high")
    indices = [int(b.get_attribute("data-index")) for b in browser.find_elements("css selector", "#grid button")]
    data = json.loads(browser.execute_script("return document.getElementById('data').textContent"))
    scores = [data["items"][i]["score"] for i in indices]
    assert scores == sorted(scores, reverse=True)


def test_classes_beside_real_images(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    rows = browser.find_elements("css selector", "#wall-table tbody tr")
    assert [row.find_element("css selector", "th").text for row in rows] == list("0123456789")
    assert [len(row.find_elements("css selector", "img")) for row in rows] == [8] * 10  # four real ones, four of lgd
    choose(browser, "by-order", "doubtful")
    data = json.loads(browser.execute_script("return document.getElementById('data').textContent"))
    buttons = browser.find_elements("css selector", "#grid button")
    items = [data["items"][int(button.get_attribute("data-index"))] for button in buttons]
    assert [item["named"][1] for item in items] == sorted(item["named"][1] for item in items)
    marked = ["doubtful" in (button.get_attribute("class") or "") for button in buttons]
    assert marked == [item["named"][0] != item["label"] for item in items]
    choose(browser, "by-order", "near")
    buttons = browser.find_elements("css selector", "#grid button")
    distances = [data["items"][int(button.get_attribute("data-index"))]["near"][2] for button in buttons]
    assert distances == sorted(distances)


@pytest.mark.parametrize("width", [400, 1400])
def test_fits_the_width(browser: Any, page: Path, width: int, tmp_path: Path) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_screenshot_as_png()[:4] == b"\x89PNG"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_scores_of_five_sizes_fit_a_desktop(browser: Any, page: Path) -> None:
    """The table has a long name, accuracies at five sizes with deviations, and copies of an anchored method."""
    metrics = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())
    widths = browser.execute_script("""
        const table = document.querySelector("#results table"), [head, row] = table.rows;
        while (head.cells.length < 11)
            for (const one of [head, row]) one.cells[2].after(one.cells[2].cloneNode(true));
        row.cells[0].append("-selection-only-x");
        row.lastElementChild.textContent = "43.3 / 43.3 / 12.0";
        return [table.parentElement.scrollWidth, table.parentElement.clientWidth, table.tBodies[0].offsetHeight]""")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert widths[0] <= widths[1]
    assert widths[2] < 100


def test_a_name_that_is_markup_stays_text(browser: Any, finished: Path, tmp_path: Path) -> None:
    evil = '<script>document.title="stolen"</script><img src=x onerror=\'document.title="stolen"\'>'
    run = tmp_path / "<b>run</b>"
    shutil.copytree(finished, run)
    names = json.loads((run / "classes.json").read_text())
    (run / "classes.json").write_text(json.dumps([evil, *names[1:]]))
    out = tmp_path / "report.html"
    assert main(["report", str(run), "--out", str(out), "--quiet"]) == 0
    assert evil not in out.read_text()
    assert "<b>run</b>" not in out.read_text()
    browser.get(out.as_uri())
    assert "stolen" not in browser.title
    options = [o.text for o in browser.find_elements("css selector", "#by-class option")]
    assert evil in options
    assert len(browser.find_elements("css selector", "script")) == 2
    assert browser.get_log("browser") == []
