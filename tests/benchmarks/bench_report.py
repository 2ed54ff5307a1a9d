"""The report of 4 x 52,002 rows of Alpaca's length: writing it, and how it opens, searches and sorts in Chromium.

python tests/benchmarks/bench_report.py

The texts are sentences of the quickstart's data in another order each time, as long as Alpaca's and their rewrites
(20 and 65 tokens, 38 and 377), with critiques as long as the quickstart's. `recipes/report.py` writes the page in a
process of its own. Then a fresh browser opens it: `navigation` to the first paint of the overview, and to its last
chart; the list of rows, searches, an order, a filter, a row; and, in another fresh browser, the link to the last row.
`blocked` is the longest time meanwhile in which the page could not answer (the longest task of its own thread).

`plain` is the page that one would write first: the same rows as one JSON array, parsed when it opens and searched by a
loop on the page's own thread. Every number is the median of the repeats. Writes `tests/benchmarks/results/report.json`.
"""

import argparse
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from report_browser import Chromium, matched, why_no_browser

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
DATA = ROOT / "recipes/quickstart/data"
RESULT = HERE / "results/report.json"
ROWS, REPEATS = 52_002, 3
TIMEOUT = 300_000  # milliseconds
CHARACTERS = 4.2  # a token
# Mean characters; of the original, of what was rewritten, and of the critiques (the quickstart's).
ASKED, GIVEN, ASKED_AGAIN, GIVEN_AGAIN = (round(tokens * CHARACTERS) for tokens in (20, 65, 38, 377))
CRITIQUES = {"reflect_instruction": 1090, "reflect_response": 520, "reflect_both": 470}
QUERIES = ("solar energy", "climate change")

# Of the page while it opens: paints, tasks that were too long, and when the last chart was there.
WATCH = """
window.tasks = [];
window.lastChart = 0;
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((one) => [one.startTime, one.duration])))
  .observe({ type: "longtask", buffered: true });
new MutationObserver((changes) => {
  const isChart = (node) => node.nodeName === "CANVAS" || node.nodeName === "svg";
  if (changes.some((one) => [...one.addedNodes].some((node) => isChart(node) || node.querySelector?.("canvas, svg")))) {
    lastChart = performance.now();
  }
}).observe(document, { childList: true, subtree: true });
"""
# Of the navigation: the first paint, the last chart, the end of the file, and the longest task.
NAVIGATION = """[
  performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1,
  lastChart,
  performance.getEntriesByType("navigation")[0].loadEventEnd,
  Math.max(0, ...tasks.map(([, length]) => length)),
].map(Math.round)"""
# Milliseconds from an action until each of some things is on the screen, one after the other.
TIMED = """(async () => {
  const started = performance.now(), times = [];
  ACTION;
  for (const isDone of [DONE]) {
    await new Promise((resolve) => {
      const observer = new MutationObserver(() => { if (isDone()) { observer.disconnect(); resolve(); } });
      const watched = { childList: true, subtree: true, characterData: true, attributes: true };
      if (isDone()) resolve();
      else observer.observe(document, watched);
    });
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    times.push(performance.now());
  }
  await new Promise((resolve) => setTimeout(resolve, 60)); // until the observer of tasks was told
  const during = tasks.filter(([start, length]) => start + length > started && start < times.at(-1));
  return { started, times, blocked: Math.max(0, ...during.map(([, length]) => length)) };
})()"""


def sentences() -> list[str]:
    """The sentences of the quickstart's rows and completions."""
    texts = []
    for name, field in (("student_rows.jsonl", "output"), ("completions.jsonl", "completion")):
        with (DATA / name).open(encoding="utf-8") as file:
            texts += [json.loads(line)[field] for line in file]
    return [part for text in texts for part in re.split(r"(?<=[.!?:])\s+|\n{2,}", text) if part]


def stream(parts: list[str], numbers: random.Random) -> Iterator[str]:
    """The sentences for ever, each time in another order, as pieces of about two million characters."""
    while True:
        numbers.shuffle(parts)
        yield " ".join(parts)


class Texts:
    """Texts of given lengths, one after the other out of a stream, so that none occurs twice."""

    def __init__(self, seed: int) -> None:
        self.numbers = random.Random(seed)
        self.stream, self.text, self.place = stream(sentences(), self.numbers), "", 0

    def column(self, rows: int, mean: int) -> list[str]:
        """`rows` texts; lengths vary as those of Alpaca do."""
        sigma = 0.8
        lengths = [int(mean * self.numbers.lognormvariate(-(sigma**2) / 2, sigma)) + 1 for _ in range(rows)]
        return [self._next(length) for length in lengths]

    def _next(self, length: int) -> str:
        if self.place + length > len(self.text):
            self.text, self.place = next(self.stream), 0
        self.place += length
        return self.text[self.place - length : self.place].strip() or "x"


def make_run(folder: Path, rows: int) -> None:
    """A run's folder of so many rows, and the same rows as one plain page."""
    from report_material import VARIANTS, material

    texts = Texts(0)
    asked, given = texts.column(rows, ASKED), texts.column(rows, GIVEN)
    asked_again = texts.column(rows, ASKED_AGAIN)
    columns: dict[str, dict[str, list[str]]] = {}
    for name in VARIANTS:
        rewritten = name in ("reflect_instruction", "reflect_both")
        columns[name] = {
            "instruction": asked_again if rewritten else asked,
            "input": [""] * rows,
            "output": given if name == "original" else texts.column(rows, GIVEN_AGAIN),
            "critique": texts.column(rows, CRITIQUES[name]) if name in CRITIQUES else [],
        }
    made = material(columns)
    made.save(folder / "run")
    write_plain(folder / "plain.html", made)
    (folder / "last").write_text(made.ids[-1])


PLAIN = """<!doctype html><meta charset="utf-8"><title>plain</title>
<h1>Rows</h1><p id="count"></p><table><tbody id="rows"></tbody></table><div id="row"></div>
<script type="application/json" id="data">"""
PLAIN_SCRIPT = """</script><script>
const rows = JSON.parse(document.getElementById("data").textContent);
const won = (row) => row.variants[row.selected_variant];
function draw(found) {
  document.getElementById("count").textContent = `${found.length} of ${rows.length} rows`;
  document.getElementById("rows").replaceChildren(...found.slice(0, 50).map((row) => {
    const line = document.createElement("tr");
    for (const text of [row.variants.original.instruction, row.selected_variant, row.select_reason]) {
      line.appendChild(document.createElement("td")).textContent = text;
    }
    return line;
  }));
}
function search(phrase) {
  const fields = ["instruction", "input", "output"];
  draw(rows.filter((row) => fields.some((name) => won(row)[name].toLowerCase().includes(phrase))));
}
function sort() {
  draw([...rows].sort((a, b) => (won(a).ifd_ppl ?? Infinity) - (won(b).ifd_ppl ?? Infinity)));
}
draw(rows);
</script>"""


def write_plain(path: Path, made: Any) -> None:
    """All that the report shows of the rows, as one JSON array in a page."""
    shown = [name for name in next(iter(made.variants.values())) if name not in ("row_id", "source_id", "reflection")]
    with path.open("w", encoding="utf-8") as file:
        file.write(PLAIN)
        for row, row_id in enumerate(made.ids):
            variants = {
                name: {field: columns[field][row] for field in shown if columns[field][row] is not None}
                for name, columns in made.variants.items()
            }
            decision = {name: values[row] for name, values in made.decisions.items() if values[row] is not None}
            text = json.dumps({"row_id": row_id, **decision, "variants": variants}, ensure_ascii=False)
            file.write(("," if row else "[") + text.replace("<", "\\u003c"))
        file.write("]" + PLAIN_SCRIPT)


def write_report(folder: Path) -> dict[str, float]:
    """Seconds, of the clock and of the processor, and the most memory that the script took."""
    command = [sys.executable, "recipes/report.py", "--dataset", str(folder / "run")]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--output", str(folder / "report.html")], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}")
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_megabytes": round(usage.ru_maxrss / 1024),
        "page_megabytes": round((folder / "report.html").stat().st_size / 1e6, 1),
    }


class Opened:
    """A page in a fresh browser, with its times."""

    def __init__(self, chromium: Chromium, path: Path, fragment: str = "") -> None:
        context = chromium.browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(TIMEOUT)
        context.add_init_script(WATCH)
        self.page = context.new_page()
        self.page.goto(path.as_uri() + fragment, wait_until="commit", timeout=TIMEOUT)

    def timed(self, action: str, *done: str) -> list[int]:
        """Milliseconds until each of some things is done; the last number is the longest stop meanwhile."""
        conditions = ", ".join(f"() => {one}" for one in done)
        found = self.page.evaluate(TIMED.replace("ACTION", action, 1).replace("DONE", conditions, 1))
        return [*(round(time - found["started"]) for time in found["times"]), round(found["blocked"])]

    def navigated(self, done: str) -> dict[str, int]:
        """Milliseconds from the start of the navigation until something is done, and the longest stop so far."""
        found = self.page.evaluate(TIMED.replace("ACTION", "", 1).replace("DONE", f"() => {done}", 1))
        longest = self.page.evaluate("Math.max(0, ...tasks.map(([, length]) => length))")
        return {"ms": round(found["times"][0]), "blocked": round(longest)}

    def memory(self) -> dict[str, int]:
        """Megabytes of the JavaScript heap of the page's own thread, and of the process that shows it, workers too."""
        session = self.page.context.new_cdp_session(self.page)
        session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")["usedSize"]
        children = psutil.Process().children(recursive=True)
        renderers = [child.memory_info().rss for child in children if "--type=renderer" in child.cmdline()]
        return {"heap_megabytes": round(heap / 2**20), "process_megabytes": round(max(renderers) / 2**20)}


COUNT = 'document.getElementById("rows-count").textContent'
TABLE = "document.querySelectorAll('#rows-table tbody tr').length > 0"
SEARCHED = f"/ of /.test({COUNT}) && !/searched/.test({COUNT})"
ROW = "document.getElementById('row-texts') !== null"


def typed(query: str) -> str:
    return (
        f"const field = document.getElementById('filter-q'); field.focus(); field.value = {json.dumps(query)}; "
        "field.dispatchEvent(new Event('input', { bubbles: true }))"
    )


def chosen(name: str, value: str) -> str:
    return (
        f"const field = document.getElementById('filter-{name}'); field.value = {json.dumps(value)}; "
        "field.dispatchEvent(new Event('input', { bubbles: true }))"
    )


def use_report(path: Path, last: str) -> dict[str, Any]:
    """One visit: everything that is measured of the report."""
    found: dict[str, Any] = {}
    with Chromium() as chromium:
        opened = Opened(chromium, path)
        opened.page.wait_for_load_state("load", timeout=TIMEOUT)
        opened.page.wait_for_timeout(500)
        paint, charts, read, blocked = opened.page.evaluate(NAVIGATION)
        found["navigation"] = {"overview": paint, "charts": charts, "whole_file": read, "blocked": blocked}
        found["memory_opened"] = opened.memory()
        found["rows"] = named(opened.timed("location.hash = '#/rows'", TABLE))
        first_hits = f"/^[1-9][0-9,]* of /.test({COUNT})"
        found["first_search"] = named(opened.timed(typed(f'"{QUERIES[0]}"'), first_hits, SEARCHED), "first_hits")
        found["memory_searched"] = opened.memory()
        found["hits"] = matched(opened.page)
        changed = f"location.hash.includes('climate') && {first_hits}"
        later = opened.timed(typed(f'"{QUERIES[1]}"'), changed, f"location.hash.includes('climate') && {SEARCHED}")
        found["later_search"] = named(later, "first_hits")
        opened.timed(typed(""), f"!/ of /.test({COUNT})")
        sort = "document.querySelector('#rows-table [data-sort=ifd_ppl]').click()"
        found["sort"] = named(opened.timed(sort, "document.querySelector('th[aria-sort=ascending]') !== null"))
        again = "document.querySelector('th[aria-sort=descending]') !== null"
        found["turn_the_order"] = named(opened.timed(sort, again))
        found["filter"] = named(opened.timed(chosen("kept", "1"), f"/ of /.test({COUNT})"))
        found["open_row"] = named(opened.timed("document.querySelector('#rows-table [data-row]').click()", ROW))
        following = "const before = document.getElementById('row-texts'); document.getElementById('row-next').click()"
        gone = "!before.isConnected && document.getElementById('row-texts') !== null"
        found["next_row"] = named(opened.timed(following, gone))
    with Chromium() as chromium:
        opened = Opened(chromium, path, f"#/row/{last}")
        found["link_to_the_last_row"] = opened.navigated(ROW)
    return found


def use_plain(path: Path) -> dict[str, Any]:
    """The same of the plain page, as far as it can do that."""
    found: dict[str, Any] = {}
    with Chromium() as chromium:
        opened = Opened(chromium, path)
        opened.page.wait_for_load_state("load", timeout=TIMEOUT)
        drawn = "document.getElementById('count').textContent !== ''"
        read, blocked = opened.page.evaluate(NAVIGATION)[2:]
        assert opened.page.evaluate(drawn)
        found["navigation"] = {"rows": read, "blocked": blocked}
        found["memory_opened"] = opened.memory()
        for name, query in zip(("first_search", "later_search"), QUERIES, strict=True):
            found[name] = named(opened.timed(f"search({json.dumps(query)})", drawn))
        found["memory_searched"] = opened.memory()
        found["sort"] = named(opened.timed("sort()", drawn))
        found["filter"] = named(opened.timed("draw(rows.filter((row) => row.selected))", drawn))
        shown = "document.getElementById('row').textContent !== ''"
        of_row = "document.getElementById('row').textContent = JSON.stringify(rows.at(-1), null, 1)"
        found["open_row"] = named(opened.timed(of_row, shown))
    return found


def named(times: list[int], *names: str) -> dict[str, int]:
    return dict(zip((*names, "ms", "blocked"), times, strict=True))


def medians(runs: list[Any]) -> Any:
    """The median of each number."""
    if isinstance(runs[0], dict):
        return {name: medians([run[name] for run in runs]) for name in runs[0]}
    return median(runs)


def main(rows: int, repeats: int) -> None:
    from hub_cards.provenance import library_versions

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In a process of its own: what it takes of memory is given back.
        environment = {**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        subprocess.run([sys.executable, __file__, "--make", name, "--rows", str(rows)], env=environment, check=True)
        writing = write_report(folder)
        print("write", writing, flush=True)
        last = (folder / "last").read_text()
        visits: dict[str, list[Any]] = {"report": [], "plain": []}
        for _ in range(repeats):
            for kind, visit in (
                ("report", use_report(folder / "report.html", last)),
                ("plain", use_plain(folder / "plain.html")),
            ):
                print(kind, json.dumps(visit), flush=True)
                visits[kind].append(visit)
        with Chromium() as chromium:
            version = chromium.browser.version
        plain_size = (folder / "plain.html").stat().st_size
    content = {
        "what": __doc__.splitlines()[0],
        "rows": rows,
        "repeats": repeats,
        "write": writing,
        "report": medians(visits["report"]),
        "plain": {"page_megabytes": round(plain_size / 1e6, 1), **medians(visits["plain"])},
        "machine": f"{os.cpu_count()} x {platform.machine()}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "chromium": version,
        "libraries": library_versions(),
    }
    RESULT.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if why_no_browser():
        sys.exit(why_no_browser())
    if arguments.make:
        make_run(arguments.make, arguments.rows)
    else:
        main(arguments.rows, arguments.repeats)
