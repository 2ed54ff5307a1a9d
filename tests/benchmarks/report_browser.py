"""Headless Chromium for the tests and the benchmark of the report: pages from disk, and whatever goes wrong in them."""

import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No name resolves: whatever would leave the machine fails, and is seen as a request.
FLAGS = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")
PATIENCE = 30_000  # milliseconds until something that does not come is given up; nothing is timed by it
VIEWPORT = {"width": 1280, "height": 900}
# What is there as soon as a view is.
SIGNS = {
    "overview": "#overview",
    "compare": "#compare",
    "rows": "#rows-count:not(:empty)",
    "row": "#row-body > section:not([data-old]):visible, #row-missing:visible, #problem:visible",
}

# What the row view held before is told from what comes.
GO = """fragment => {
  const target = new URL(fragment, location.href).href
  if (location.href === target) return
  for (const part of document.querySelectorAll("#row-body > *")) part.dataset.old = ""
  location.href = target
}"""


def why_no_browser() -> str:
    """What is missing, and how to get it; empty where there is a browser."""
    if find_spec("playwright") is None:
        return "playwright is not installed: pip install playwright"
    return "" if find_chromium() else "chromium is not installed: apt-get install chromium"


def find_chromium() -> str | None:
    """The browser's executable."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """A running browser. Each page has a context of its own, and all that goes wrong in any of them is kept.

    While it runs an event loop of playwright's does too, so that `asyncio.run` fails in this thread: end it soon.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        from playwright.sync_api import sync_playwright

        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.browser.close()
        self.playwright.stop()

    def open(self, path: Path, fragment: str = "", **context: Any) -> "Page":
        """A report from disk in a context of its own.

        Args:
            fragment: of the address, with its `#`.
            context: as `Browser.new_context` takes it.
        """
        found = self.browser.new_context(**{"viewport": VIEWPORT, "color_scheme": "light", **context})
        found.set_default_timeout(PATIENCE)
        page = found.new_page()
        self._watch(page, path.as_uri())
        page.goto(path.as_uri() + fragment)
        return page

    def _watch(self, page: "Page", address: str) -> None:
        def console(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.problems.append(f"console {message.type}: {message.text}")

        def request(one: Any) -> None:
            if one.url.partition("#")[0] != address and not one.url.startswith(("blob:", "data:")):
                self.problems.append(f"request: {one.url[:200]}")

        def dialog(one: Any) -> None:
            self.problems.append(f"dialog: {one.message}")
            one.dismiss()

        page.on("console", console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", request)
        page.on("dialog", dialog)
        page.on("popup", lambda popup: self.problems.append(f"popup: {popup.url[:200]}"))

    def check(self) -> None:
        """Raise `AssertionError` where anything went wrong since the last check."""
        found, self.problems = self.problems, []
        assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    """One browser for the tests of a module; those are skipped where there is none."""
    missing = why_no_browser()
    if missing:
        pytest.skip(missing)
    with Chromium() as chromium:
        yield chromium


@pytest.fixture
def open_page(browser: Chromium) -> Iterator[Callable[..., "Page"]]:
    """`open_page(path, fragment, **context)` gives the page of a report; it is closed when the test ends."""
    opened: list[Page] = []

    def call(*args: Any, **kwargs: Any) -> "Page":
        opened.append(browser.open(*args, **kwargs))
        return opened[-1]

    yield call
    for page in opened:
        page.context.close()


@pytest.fixture(autouse=True)
def nothing_went_wrong(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no error, no warning, no dialog, and no request but for the file itself."""
    yield
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").check()


def go(page: "Page", fragment: str) -> None:
    """Follow a link of the report, as somebody who changes the address, and wait until its view is there."""
    page.evaluate(GO, fragment)
    view = fragment.removeprefix("#/").partition("?")[0].partition("/")[0]
    page.locator(SIGNS[view]).first.wait_for()


def eventually(page: "Page", read: Callable[[], Any], expected: Any) -> None:
    """Wait until `read()` is what is expected; raise `AssertionError` where it never is."""
    until = time.monotonic() + PATIENCE / 1000
    while (found := read()) != expected and time.monotonic() < until:
        page.wait_for_timeout(25)
    assert found == expected, f"found {found!r}\nexpected {expected!r}"


def says(page: "Page", selector: str, text: str | None) -> None:
    """Wait until the first element that is meant has exactly this text."""
    eventually(page, page.locator(selector).first.text_content, text)


def shown_ids(page: "Page") -> list[str]:
    """The ids of the rows in the table, from the top."""
    return page.evaluate("[...document.querySelectorAll('#rows-table [data-row]')].map(link => link.dataset.row)")


def counted(page: "Page") -> str:
    """How many rows match, in the page's words."""
    return page.evaluate("document.getElementById('rows-count').textContent")


def matched(page: "Page") -> int | None:
    """How many rows match; None as long as that is not known."""
    text = counted(page)
    return None if not text or "searched" in text else int(text.split()[0].replace(",", ""))
