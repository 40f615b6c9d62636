"""Open the report of a small comparison in headless Chromium, and fail where it isn't what it should be.

python tools/check_report.py [FOLDER]

Without network, from a file: nothing on the console, no request, every figure drawn, no sideways scrolling on a phone,
and all that a mouse can do can be done by keyboard. Screenshots are left in the folder, by default runs/report-check.
"""

import base64
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService, Keys
from selenium.webdriver.common.by import By
from small_comparison import COMMAND, HOSTILE, small_comparison

from lrkit.output.comparison_report import write_report

FIGURES = ["curves", "forest", "sensitivity", "rates"]
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}
OWN = ("file:", "data:", "blob:")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
REACHABLE = 'a[href], button, input, summary, [tabindex="0"]'


class Page:
    """The report in a browser; what is wrong with it is collected."""

    def __init__(self, browser: Chrome, path: Path) -> None:
        self.browser = browser
        self.address = path.resolve().as_uri()
        self.wrong: list[str] = []

    def open(self, size: str, *, scheme: str = "light") -> None:
        """Load it anew, in a window of that size."""
        width, height = SIZES[size]
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == "phone"}
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", window)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.browser.get(self.address)

    def ask(self, script: str, *given: Any) -> Any:
        """What a script returns."""
        return self.browser.execute_script(script, *given)

    def press(self, key: str) -> None:
        """Press a key, wherever the focus is."""
        ActionChains(self.browser).send_keys(key).perform()

    def must(self, holds: bool, sentence: str) -> None:
        """Note what is wrong where something doesn't hold."""
        if not holds:
            self.wrong.append(sentence)

    def shoot(self, path: Path) -> None:
        """A screenshot of the whole page."""
        taken = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(taken["data"]))


def check(page: Page, size: str) -> None:
    """All that must hold at one size."""
    check_figures(page, size)
    room, width = page.ask("return document.documentElement.scrollWidth"), SIZES[size][0]
    page.must(room <= width, f"{size}: the page is {room} pixels wide in a window of {width}")
    headings = page.ask("return [...document.querySelectorAll('h1, h2, h3')].map(each => Number(each.tagName[1]))")
    steps = [after - before for before, after in pairwise(headings)]
    page.must(headings[0] == 1 and headings.count(1) == 1 and max(steps) <= 1, f"{size}: headings are {headings}")
    check_focus(page, size)
    check_toggles(page, size)
    check_copy(page, size)


def check_figures(page: Page, size: str) -> None:
    """Each is there, has lines or marks, fits its place, and has nothing that plotly doesn't know."""
    found = page.ask(
        """return [...document.querySelectorAll("[data-figure]")].map(place => ({
          key: place.dataset.figure, label: place.getAttribute("aria-label"),
          drawn: place.querySelectorAll(".trace path, .trace text").length,
          wide: place.querySelector(".main-svg")?.getBoundingClientRect().width ?? 0, room: place.clientWidth,
          unknown: (Plotly.validate(place.data, place.layout) ?? []).map(each => each.msg)}))"""
    )
    page.must([each["key"] for each in found] == FIGURES, f"{size}: the figures are {[each['key'] for each in found]}")
    for each in found:
        page.must(bool(each["label"]), f"{size}: {each['key']} has no text for those who don't see it")
        page.must(each["drawn"] > 0, f"{size}: {each['key']} is empty")
        page.must(
            0 < each["wide"] < each["room"] + 1, f"{size}: {each['key']} is {each['wide']} wide in {each['room']}"
        )
        page.must(not each["unknown"], f"{size}: {each['key']}: {each['unknown']}")


def check_focus(page: Page, size: str) -> None:
    """The tabulator reaches all that can be used, in the order of the page, and shows where it is."""
    page.ask(
        "window.wanted = [...document.querySelectorAll(arguments[0])].filter(each => each.checkVisibility())", REACHABLE
    )
    page.ask("scrollTo(0, 0); document.activeElement.blur()")
    count = page.ask("return wanted.length")
    for place in range(count):
        page.press(Keys.TAB)
        at, name, seen, inside = page.ask(
            """const on = document.activeElement, box = on.getBoundingClientRect(), style = getComputedStyle(on);
            return [wanted.indexOf(on), on.outerHTML.slice(0, 80), style.outlineStyle !== "none",
                    box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth]"""
        )
        page.must(at == place, f"{size}: press {place + 1} of the tabulator should reach another thing than {name}")
        page.must(seen, f"{size}: the focus doesn't show on {name}")
        page.must(inside, f"{size}: the focus is out of sight on {name}")
        if at != place:
            return


def check_toggles(page: Page, size: str) -> None:
    """The space bar hides a schedule in all figures, and shows it again."""
    boxes = page.browser.find_elements(By.CSS_SELECTOR, "input[data-schedule]")
    page.must(len(boxes) > 1, f"{size}: there are {len(boxes)} schedules to show and hide")
    for box in boxes:
        page.ask("arguments[0].focus()", box)
        for hidden in (True, False):
            page.press(Keys.SPACE)
            wrong = page.ask(
                """const number = Number(arguments[0].dataset.schedule), hidden = arguments[1];
                return [...document.querySelectorAll("[data-figure]")].filter(place => place.data.some(
                  trace => (trace.visible === false) !== (hidden && trace.meta === number)))
                  .map(place => place.dataset.figure)""",
                box,
                hidden,
            )
            page.must(not wrong, f"{size}: the space bar on {box.accessible_name} doesn't do what it should in {wrong}")


def check_copy(page: Page, size: str) -> None:
    """Enter copies the command, and says so."""
    page.ask("document.getElementById('copy').focus()")
    page.press(Keys.ENTER)
    said = page.browser.find_element(By.ID, "copied")
    ActionChains(page.browser).pause(0.2).perform()
    page.must(bool(said.text), f"{size}: nothing is said of what was copied")
    page.must(page.browser.find_element(By.ID, "command").text.split() == COMMAND.split(), f"{size}: another command")


def foreign(browser: Chrome) -> Iterator[str]:
    """What the page asked others for."""
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            address = message["params"]["request"]["url"]
            if not address.startswith(OWN):
                yield address


def start() -> Chrome:
    """Chromium without a window and without a network."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit("check_report: install Debian's packages chromium and chromium-driver first")
    options = ChromeOptions()
    options.binary_location = chromium
    for each in FLAGS:
        options.add_argument(each)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=ChromeService(driver))
    browser.execute_cdp_cmd("Network.enable", {})
    nothing = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", nothing)
    return browser


def main(arguments: Sequence[str]) -> None:
    """Make the report, look at it in every way, and say what is wrong."""
    folder = Path(arguments[0] if arguments else "runs/report-check")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    write_report(small_comparison(), path, command=COMMAND)
    browser = start()
    try:
        page = Page(browser, path)
        for size in SIZES:
            page.open(size)
            page.shoot(folder / f"{size}.png")
            check(page, size)
            page.open(size, scheme="dark")
            page.shoot(folder / f"{size}-dark.png")
        page.must(
            page.ask("return document.body.textContent").count(HOSTILE) > 1, "a schedule's name isn't shown as it is"
        )
        page.wrong += [f"console: {entry['level']}: {entry['message']}" for entry in browser.get_log("browser")]
        page.wrong += [f"the page asks for {address}" for address in foreign(browser)]
    finally:
        browser.quit()
    for sentence in page.wrong:
        print(f"report-check: {sentence}", file=sys.stderr)
    if page.wrong:
        sys.exit(1)
    print(f"the report is as it should be; screenshots are in {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
