"""Every recipe has a page that names its files; every link of every page leads somewhere."""

import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
LAUNCHERS = RECIPES / "accelerate_configs"
FOLDERS = sorted({path.parent.relative_to(RECIPES).as_posix() for path in RECIPES.glob("*/*.yaml")})
ESTIMATED = re.compile(r"estimated|not (?:yet )?run", re.IGNORECASE)
BUILT = {"runs", "build", "dist"}  # and what is hidden: no pages of ours
COMMAND = re.compile(r"^(?:accelerate launch .*|python )recipes/\w+\.py", re.MULTILINE)
FENCED = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|<(?:a|img)\b[^>]*\b(?:href|src)=\"([^\"]+)\"")


def pages() -> Iterator[Path]:
    """All Markdown files of the checkout."""
    for place, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith((".", "__")) and name not in BUILT]
        yield from (Path(place) / name for name in files if name.endswith(".md"))


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", text)


def links(text: str) -> list[str]:
    """What a page links to, apart from other sites."""
    found = [markdown or html for markdown, html in LINK.findall(re.sub(r"`[^`]*`", "", prose(text)))]
    return [target for target in found if not re.match(r"[a-z+]+:", target)]


def anchors(text: str) -> set[str]:
    """The fragments that GitHub gives to a page's headings: the second of the same name is `name-1`."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", prose(text), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        number = next(n for n in range(len(found) + 1) if (f"{name}-{n}" if n else name) not in found)
        found.add(f"{name}-{number}" if number else name)
    return found


@cache
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def fault(page: Path, target: str) -> str | None:
    """Why a link of a page leads nowhere; None where it leads somewhere."""
    name, _, fragment = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists() or not path.is_relative_to(ROOT):
        return f"{target}: there is no such file in the checkout"
    if not fragment:
        return None
    if path.is_dir():
        path /= "README.md"
    if path.suffix != ".md" or fragment not in anchors(read(path)):
        return f"{target}: there is no such heading"
    return None


@pytest.mark.parametrize("folder", FOLDERS)
class TestPage:
    def test_names_every_file_and_how_to_start_it(self, folder):
        text = read(RECIPES / folder / "README.md")
        assert [path.name for path in (RECIPES / folder).glob("*.yaml") if f"`{path.name}`" not in text] == []
        blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        assert any(COMMAND.search(block) for block in blocks)

    def test_says_what_is_estimated(self, folder):
        page, files = read(RECIPES / folder / "README.md"), (RECIPES / folder).glob("*.yaml")
        if any(ESTIMATED.search(read(path)) for path in files):
            assert ESTIMATED.search(page)

    def test_names_no_file_that_is_gone(self, folder):
        named = set(re.findall(rf"recipes/{re.escape(folder)}/[\w.]+\.\w+", read(RECIPES / folder / "README.md")))
        assert sorted(name for name in named if not (ROOT / name).is_file()) == []


def test_the_overview_names_every_recipe_every_file_and_every_script():
    text = read(RECIPES / "README.md")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| [`")]
    shown = {re.match(r" \[`(.+?)`\]\(\1/README\.md\) $", cells[0])[1]: cells[2] for cells in rows}
    found = {
        folder: {path.stem for path in (RECIPES / folder).glob("*.yaml")}
        for folder in FOLDERS
        if RECIPES / folder != LAUNCHERS
    }
    assert {folder: {name.strip() for name in cell.split(",")} for folder, cell in shown.items()} == found
    commands = " ".join(re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    for script in sorted(path.name for path in RECIPES.glob("*.py")):
        assert f"\n| `{script}` |" in text
        assert f"python recipes/{script} " in commands


def test_every_link_leads_somewhere():
    found = {page: links(read(page)) for page in pages()}
    assert sum(map(len, found.values())) > 100  # they were seen
    faults = [
        f"{page.relative_to(ROOT)}: {said}"
        for page, targets in found.items()
        for target in targets
        if (said := fault(page, target))
    ]
    assert not faults, "\n".join(faults)


def test_links_and_headings_are_read_as_github_reads_them(tmp_path):
    text = (
        "# A `--flag`: what, and *why*?\n## Same\n## Same\n```bash\n# no heading [x](no.md)\n```\n"
        '[one](a.md) `[no](b.md)` [`two`](c/d.md#e) ![three](f.png) [web](https://g.org) <img src="h.png" width=3>\n'
        '[split\nname](<i.md>) [titled](j.md "title") [mail](mailto:k@l.m)\n'
    )
    assert links(text) == ["a.md", "c/d.md#e", "f.png", "h.png", "i.md", "j.md"]
    assert anchors(text) == {"a---flag-what-and-why", "same", "same-1"}
    page = RECIPES / "README.md"
    assert fault(page, "no_such_file.md") and fault(page, "#no-such-heading") and fault(page, "recycle.py#main")
    assert fault(page, str(os.path.relpath(tmp_path, RECIPES)))
    assert fault(page, "#the-scripts") is None and fault(page, "quickstart#what-comes-out") is None
