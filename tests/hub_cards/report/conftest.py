"""A browser, and reports of made-up rows: a small one that holds every kind of row, and some of its relatives."""

import random
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import report_browser
from report_material import Material, material

from hub_cards.schema import VARIANTS

browser, open_page = report_browser.browser, report_browser.open_page
nothing_went_wrong = report_browser.nothing_went_wrong

ROWS = 130  # three pages of the table
MARKED = 19  # a row whose responses differ in words that can be told
WORDS = (
    *("river", "lamp", "River", "LAMP", "a.b*c", "[brackets]", "50%", "C++", "O'Neil", "back\\slash", "<b>bold</b>"),
    *("naïve", "naive", "Été", "Straße", "strasse", "日本語", "emoji😀", "&amp;", "ends here", "a+b", "(x|y)", "$5^2"),
)
ODD_IDS = ("a/b?c#d", "50% & more", "äöü 日本語", "..", "%zz", "x\"y'z<w>", "two  spaces", "-")


def texts_of(rows: int, seed: int) -> dict[str, dict[str, list[str]]]:
    """Texts of the words above; every third row has an input, one in forty an empty response."""
    words = random.Random(seed)

    def text(row: int, variant: str, length: int) -> str:
        return " ".join([f"{variant[:9]} {row}", *words.choices(WORDS, k=length)]).replace("_", " ")

    found = {}
    for variant in VARIANTS:
        found[variant] = {
            "instruction": [text(row, variant, 4) for row in range(rows)],
            "input": [text(row, "input", 2) if row % 3 == 0 else "" for row in range(rows)],
            "output": ["" if row % 40 == 17 else text(row, variant, 9) for row in range(rows)],
            "critique": [f"Critique {row} of {variant}: {words.choice(WORDS)}." for row in range(rows)],
        }
        found[variant]["output"][MARKED] = "one 2 three four five" if variant == VARIANTS[-1] else "one two three four"
    return found


@pytest.fixture(scope="session")
def made() -> Material:
    """The rows of the small report; the first ids are odd ones."""
    ids = [*ODD_IDS, *(f"{row:016x}" for row in range(len(ODD_IDS), ROWS))]
    return material(texts_of(ROWS, 1), ids=ids)


@pytest.fixture(scope="session")
def other(made: Material) -> Material:
    """Another selection of the same rows, by other scores; in another order, and without the last five rows."""
    found = material(texts_of(ROWS, 1), seed=7, ids=made.ids)
    places = list(reversed(range(ROWS - 5)))
    found.decisions = {name: [values[place] for place in places] for name, values in found.decisions.items()}
    found.variants = {
        variant: {name: [values[place] for place in places] for name, values in columns.items()}
        for variant, columns in found.variants.items()
    }
    return found


def tokens_of(made: Material, variant: str) -> list[list[tuple[str, float | None, float | None]] | None]:
    """Of a response its words as tokens, each helped, hurt or neither by another amount; the last ones are cut off."""
    found: list = []
    for row, text in enumerate(made.variants[variant]["output"]):
        pieces = [piece if place == 0 else f" {piece}" for place, piece in enumerate(text.split(" "))][:-2]
        nats = [(2.0 + (row + place) % 5, 3.0 + (row + 3 * place) % 4 / 4) for place in range(len(pieces))]
        found.append([(piece, *pair) for piece, pair in zip(pieces, nats, strict=True)] if pieces else None)
    if found[1]:
        found[1][0] = (found[1][0][0], None, None)
    return found


@pytest.fixture(scope="session")
def small_report(made: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of `made`."""
    return made.write(tmp_path_factory.mktemp("small") / "a report.html", "Made up, & <small>")


@pytest.fixture(scope="session")
def compared_report(made: Material, other: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`made` compared with `other`, with tokens of two variants."""
    tokens = {name: iter(tokens_of(made, name)) for name in islice(VARIANTS, 2)}
    path = tmp_path_factory.mktemp("compared") / "report.html"
    return made.write(path, "Two selections", other, tokens=tokens, why_no_tokens="")


@pytest.fixture(scope="module")
def page(browser: report_browser.Chromium, small_report: Path) -> Iterator:
    """The small report, opened once for a module of tests, which go from place to place in it."""
    opened = browser.open(small_report, "#/rows")
    yield opened
    opened.context.close()


# What is behind a text: the backgrounds of all elements around it, the transparent ones laid over those below.
CONTRASTS = """elements => elements.filter(one => one.checkVisibility()).map(one => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number)
  const parts = colour => ({ rgb: numbers(colour).slice(0, 3), a: numbers(colour)[3] ?? 1 })
  const over = (top, below) => below.map((part, i) => top.a * top.rgb[i] + (1 - top.a) * part)
  const light = rgb => rgb.map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0)
  const layers = []
  for (let at = one; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor))
  const behind = layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255])
  const text = over(parts(getComputedStyle(one).color), behind)
  const [low, high] = [light(behind), light(text)].sort((a, b) => a - b)
  return (high + 0.05) / (low + 0.05)
})"""


@pytest.fixture(scope="session")
def contrasts():
    """`contrasts(page, selector)`: of each visible element the contrast of its text, as WCAG 2 reckons it."""
    return lambda page, selector: page.locator(selector).evaluate_all(CONTRASTS)


@pytest.fixture(scope="session", name="tokens_of")
def tokens_of_fixture():
    """`tokens_of(made, variant)` gives the tokens of the compared report, row by row."""
    return tokens_of


# Whether each chart shows something: an SVG holds shapes, a canvas pixels that are not clear.
DRAWN = """charts => charts.map(chart => {
  const svg = chart.querySelector("svg")
  if (svg) return svg.querySelectorAll("path, rect, circle, text").length > 3
  const canvas = chart.querySelector("canvas")
  if (!canvas) return false
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true })
  copy.drawImage(canvas, 0, 0)
  const pixels = copy.getImageData(0, 0, canvas.width, canvas.height).data
  let inked = 0
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) inked++
  return inked > 200
})"""


@pytest.fixture(scope="session")
def drawn():
    """`drawn(page, selector, count)` waits until that many charts are there, every one with something in it."""

    def wait(page, selector: str, count: int) -> None:
        charts = page.locator(f"{selector} [data-chart]")
        report_browser.eventually(page, lambda: charts.evaluate_all(DRAWN), [True] * count)

    return wait
