"""The house's rules of layout, checked on the syntax trees, on the tracked files and on the wheel."""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
if not (ROOT / ".git").exists():
    pytest.skip("the rules are about the files that git tracks", allow_module_level=True)
PACKAGES = ("hub_cards", "reflection", "scoring", "training")
OURS = (*PACKAGES, "recipes")
# What of ours a package may import, besides itself.
MAY_IMPORT = {
    "hub_cards": (),
    "reflection": ("hub_cards",),
    "scoring": ("hub_cards",),
    "training": ("hub_cards", "scoring.templates", "reflection.oracles"),
    "recipes": PACKAGES,
}
HEAVY = ("torch", "transformers")
TRAINS = ("adapters", "checkpoints", "sft", "trainer")  # the modules of `training` that may import these
# Loaded from their folders by `evaluate`, never imported.
EVALUATE_MODULES = ("scoring/measurements/", "training/metrics/")
WITH_YAMLS = ("reflection", "scoring", "scoring/selection", "training")
TOP_LEVEL = {
    *("README.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt"),
    *("CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff"),
    *("hub_cards", "reflection", "scoring", "training", "recipes", "tests"),
}


def git_files(*options: str) -> list[str]:
    command = ["git", "ls-files", "-z", *options]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({name for name in names if name and (ROOT / name).is_file()})


TRACKED = git_files()
# New files too, before they are tracked.
FILES = git_files("--cached", "--others", "--exclude-standard")
PYTHON = [name for name in FILES if name.endswith(".py")]
SOURCES = [name for name in PYTHON if name.split("/")[0] in OURS]
TESTS = [name for name in PYTHON if name.startswith("tests/")]
PAGE_SOURCES = [name for name in FILES if name.startswith("hub_cards/report/page/")]
MIRRORS = [name for name in TESTS if name.split("/")[1] in PACKAGES]  # tests of recipes run commands: named freely
LIGHT = [
    name
    for name in SOURCES
    if Path(name).name == "config.py"
    or name in ("scoring/templates.py", "scoring/statistics.py", "scoring/selectit.py", "scoring/verify.py")
    or name in ("scoring/prescored.py", "scoring/prescored_formats.py", "scoring/alignment.py")
    or name in ("scoring/describe_config.py", "scoring/report.py", "scoring/plots.py", "scoring/flow_plot.py")
    or name in ("scoring/report_parts.py", "scoring/tokens.py")
    or name.startswith("scoring/selection/")
    or (name.startswith("training/") and name.count("/") == 1 and Path(name).stem not in TRAINS)
]


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(node: ast.AST, at_import: bool) -> Iterator[ast.AST]:
    """Everything below `node`; with `at_import` only what runs when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import and is_type_checking(child):
            yield from (part for other in child.orelse for part in [other, *statements(other, at_import)])
            continue
        yield child
        yield from statements(child, at_import)


def imports(source: str, package: str = "", at_import: bool = False) -> set[str]:
    """Dotted names that a module imports: `import a.b` and `from a import b` both give `a.b`."""
    found = set()
    for node in statements(ast.parse(source), at_import):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            base = parts[: len(parts) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def is_within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def imports_of(path: str, at_import: bool = False) -> set[str]:
    package = ".".join(Path(path).parent.parts)
    return imports((ROOT / path).read_text(encoding="utf-8"), package, at_import)


# Every kind of import there is, for a module of the package x.y.
SAMPLE = """
import a.b as c, d
from e.f import g, h
from . import i
from ..j import k
if TYPE_CHECKING:
    from l import m
else:
    import n
try:
    import o
except ImportError:
    import p
class Q:
    import q
def r():
    import s
async def t():
    from u import v
"""
SAMPLE_AT_IMPORT = {"a.b", "d", "e.f.g", "e.f.h", "x.y.i", "x.j.k", "n", "o", "p", "q"}


class TestImportReader:
    """The rules below are only as good as this reader."""

    def test_finds_every_import(self):
        assert imports(SAMPLE, "x.y") == {*SAMPLE_AT_IMPORT, "l.m", "s", "u.v"}

    def test_leaves_out_what_an_import_of_the_module_does_not_run(self):
        assert imports(SAMPLE, "x.y", at_import=True) == SAMPLE_AT_IMPORT

    def test_there_are_files_to_check(self):
        assert {name.split("/")[0] for name in SOURCES} == set(OURS)
        assert {"scoring/config.py", "scoring/templates.py", "scoring/selection/__init__.py"} <= set(LIGHT)


class TestImports:
    @pytest.mark.parametrize("path", SOURCES)
    def test_are_only_those_that_the_package_may_make(self, path):
        package = path.split("/")[0]
        allowed = (*MAY_IMPORT[package], *((package,) if package != "recipes" else ()))
        ours = {name for name in imports_of(path) if name.split(".")[0] in OURS}
        assert {name for name in ours if not any(is_within(name, other) for other in allowed)} == set()

    @pytest.mark.parametrize("path", TESTS)
    def test_no_test_imports_a_recipe(self, path):
        assert {name for name in imports_of(path) if is_within(name, "recipes")} == set()

    @pytest.mark.parametrize("path", LIGHT)
    def test_light_module_imports_no_torch_and_no_transformers(self, path):
        names = imports_of(path, at_import=True)
        assert {name for name in names if name.split(".")[0] in HEAVY} == set()

    def test_light_modules_and_the_contract_load_no_torch_by_way_of_others_either(self):
        paths = {*LIGHT, "training/formatting.py", *(name for name in SOURCES if name.startswith("hub_cards/"))}
        modules = sorted(".".join(Path(path).with_suffix("").parts).removesuffix(".__init__") for path in paths)
        code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


class TestFiles:
    @pytest.mark.parametrize("path", [name for name in PYTHON if name.startswith("recipes/")])
    def test_no_script_bears_the_name_of_a_standard_library_module(self, path):
        assert Path(path).stem not in sys.stdlib_module_names

    @pytest.mark.parametrize("path", [name for name in PYTHON if Path(name).parent == Path("recipes")])
    def test_script_is_thin(self, path):
        if Path(path).name != "recycle.py":
            assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) < 80

    @pytest.mark.parametrize("path", [*PYTHON, *PAGE_SOURCES])
    def test_module_is_not_too_long(self, path):
        limit = 500 if path.startswith("tests/") else 400  # a table of cases may be longer than a room of code
        assert len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= limit

    def test_top_level_holds_what_is_allowed_and_nothing_else(self):
        entries = {name.split("/")[0] for name in TRACKED}
        assert {name for name in entries if not name.startswith(".")} == TOP_LEVEL

    def test_recipes_is_no_package(self):
        assert [name for name in PYTHON if name.startswith("recipes/") and name.endswith("__init__.py")] == []


class TestTests:
    def test_are_no_packages(self):
        assert [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("__init__.py")] == []

    @pytest.mark.parametrize("path", [name for name in MIRRORS if Path(name).name != "conftest.py"])
    def test_mirror_the_tree(self, path):
        """`tests/a/test_b.py`, or `tests/a/test_b_topic.py` where there is much to say, tests `a/b.py` or package."""
        folder, name = Path(path).relative_to("tests").parent, Path(path).stem
        assert name.startswith("test_")
        words = name.removeprefix("test_").split("_")
        sources = [folder / "_".join(words[:count]) for count in range(1, len(words) + 1)]
        assert any(f"{source}.py" in SOURCES or f"{source}/__init__.py" in SOURCES for source in sources)

    @pytest.mark.parametrize("folder", sorted({"/".join(name.split("/")[:2]) for name in TESTS if name.count("/") > 1}))
    def test_folders_are_those_of_the_tree(self, folder):
        assert folder.removeprefix("tests/") in {*OURS, "benchmarks", "hub_server"}

    def test_benchmarks_are_not_collected_as_tests(self):
        assert [name for name in TESTS if name.startswith("tests/benchmarks/") and "test_" in Path(name).name] == []


class TestWheel:
    @pytest.fixture(scope="class")
    def names(self, tmp_path_factory) -> list[str]:
        """What the wheel holds, built from the tracked files alone and without the network."""
        checkout, place = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("wheel")
        for name in TRACKED:
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, checkout / name)
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
        done = subprocess.run(
            [*command, "--wheel-dir", str(place), str(checkout)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (wheel,) = place.glob("*.whl")
        return zipfile.ZipFile(wheel).namelist()

    def test_holds_the_four_packages_and_their_data_and_nothing_else(self, names):
        expected = {
            name
            for name in TRACKED
            if name.split("/")[0] in PACKAGES
            and not name.startswith(EVALUATE_MODULES)
            and (
                name.endswith(".py")
                or (name.startswith("hub_cards/cards/templates/") and name.endswith(".jinja"))
                or (str(Path(name).parent) in WITH_YAMLS and name.endswith(".yaml"))
                or name.startswith(("training/data/", "hub_cards/report/page/", "hub_cards/report/vendor/"))
            )
        }
        assert {name for name in names if ".dist-info/" not in name} == expected
        assert {name.split("/")[0] for name in expected} == set(PACKAGES)
        web = {".css", ".js", ".LICENSE", ".LICENSE-d3", ".NOTICE"}
        assert {Path(name).suffix for name in expected} == {".py", ".jinja", ".yaml", ".jsonl", ".md", *web}

    def test_says_what_it_is(self, names):
        described = {name.split("/", 1)[1] for name in names if ".dist-info/" in name}
        assert {"METADATA", "RECORD", "WHEEL", "top_level.txt", "licenses/LICENSE"} == described
