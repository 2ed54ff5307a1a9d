"""Every command of every page is run, or marked with the reason why not; commands/stand_ins.py says what "run" is."""

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from datasets import load_dataset

from hub_cards.publishing import publish as publishing
from hub_cards.publishing.read_back import compare

sys.path.insert(0, str(Path(__file__).parent / "commands"))
import stand_ins
from pages import FRONT_PAGE, PYTHON, find_blocks, find_pages
from reader import Reader, set_up
from service import Service

ROOT = Path(__file__).parents[2]
if not (ROOT / ".git").exists():
    pytest.skip("the pages are those that git lists", allow_module_level=True)
PAGES = find_pages(ROOT)
SLOW = ("recipes/README.md",)  # shows every script once more
ROWS = stand_ins.ROWS.stop - stand_ins.ROWS.start


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """What stands in for OpenAI and for servers of one's own."""
    made = Service(ROOT / "recipes/quickstart")
    yield made
    made.close()


@contextmanager
def reading(place: Path, script, hub_process, service: Service) -> Iterator[Reader]:
    """A reader in that folder, with the service and an empty Hub to go to, keys for both, and no time to wait."""
    hub_fixture = sys.modules["hub_fixture"]  # as tests/conftest.py has loaded it
    with pytest.MonkeyPatch.context() as patch:
        hub = hub_fixture.put_online(hub_process, patch, place.parent)
        patch.setenv("OPENAI_API_KEY", stand_ins.OPENAI_KEY)
        patch.setenv("OPENAI_BASE_URL", service.url)
        for module in ("config", "chat"):  # whose prices hold, and how one asks
            patch.setattr(f"reflection.oracles.{module}.is_openai", lambda url: url in (None, service.url))
        patch.setattr("hub_cards.hub.client.time.sleep", lambda _: None)
        # Read back in this process; test_quickstart.py does it in one of its own.
        patch.setattr(publishing, "read_back", lambda repositories: [compare(one) for one in repositories])
        yield Reader(place, script.func, service, hub, patch)
    hub_fixture.forget()


@pytest.fixture(scope="module")
def front_page(script, hub_process, service, tmp_path_factory) -> Reader:
    """One who has done `make quickstart`, and then what the front page says."""
    place = tmp_path_factory.mktemp("reader") / "checkout"
    place.mkdir()
    set_up(ROOT, place, service.other_url)
    with reading(place, script, hub_process, service) as reader:
        _, quickstart, *words = stand_ins.QUICKSTART.split()
        done = reader.run_here(Path(quickstart).name, *words)
        assert done.returncode == 0, done.stderr
        reader.read(FRONT_PAGE, (ROOT / FRONT_PAGE).read_text(encoding="utf-8"))
    return reader


def test_the_front_page_runs(front_page):
    assert not front_page.failures, "\n".join(front_page.failures)


@pytest.fixture
def reader(front_page, script, hub_process, service, tmp_path) -> Iterator[Reader]:
    """The same one with another page in hand, in a copy of the folder."""
    place = Path(shutil.copytree(front_page.place, tmp_path / "checkout", symlinks=True))
    with reading(place, script, hub_process, service) as made:
        yield made


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PAGES[1:]]
)
def test_page_runs(reader, page):
    reader.read(page, (ROOT / page).read_text(encoding="utf-8"))
    assert not reader.failures, "\n".join(reader.failures)


@pytest.mark.parametrize("page", SLOW)
def test_slow_page_is_understood(reader, page):
    reader.read(page, (ROOT / page).read_text(encoding="utf-8"), only_look=True)
    assert not reader.failures, "\n".join(reader.failures)


class TestFrontPage:
    """What its commands leave behind, so that "it ran" is no empty word."""

    def test_the_quickstart_is_what_the_makefile_starts(self):
        assert f"\n\t$(BIN)/{stand_ins.QUICKSTART}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")

    def test_every_row_is_asked_about_once_for_each_variant(self, front_page):
        asked = [question for question in front_page.questions if question.startswith("[Instruction]")]
        assert len(asked) == len(set(asked)) == 3 * ROWS

    def test_the_selection_is_published_with_prompts(self, front_page):
        selected = load_dataset(str(front_page.place / "runs/mine/publish/dataset"), "selected", split="train")
        assert selected["prompt"][0].startswith("A chat between a curious user")

    def test_no_key_is_written_down(self, front_page):
        for path in (front_page.place / "runs").rglob("*"):
            assert not path.is_file() or stand_ins.OPENAI_KEY.encode() not in path.read_bytes(), path

    def test_its_scores_are_numbers(self, front_page):
        (said,) = (said for said in front_page.said.values() if re.fullmatch(r"\S+ \S+ ok\n", said))
        ifd, rifd, _ = said.split()
        assert float(ifd) > 0 and float(rifd) > 0


def test_the_metric_gives_the_number_that_its_reviews_say(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    blocks = find_blocks("", (ROOT / "training/README.md").read_text(encoding="utf-8"))
    (snippet,) = (block.text for block in blocks if block.language == PYTHON)
    exec(snippet, {})
    assert float(capsys.readouterr().out) == 2.0  # better in both orders


def test_the_sweep_of_the_guide_is_the_recipe():
    text = (ROOT / "training/README.md").read_text(encoding="utf-8")
    (shown,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    recipe = yaml.safe_load((ROOT / "recipes/quickstart-comparison/sweep.yaml").read_text(encoding="utf-8"))
    assert {name: recipe[name] for name in shown} == shown
