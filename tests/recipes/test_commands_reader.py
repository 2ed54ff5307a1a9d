"""The reader of the pages on pages made for it: what it runs, what it looks at, and what it complains of."""

import os
import sys
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent / "commands"))
import stand_ins
from pages import PageError, find_blocks, find_commands
from reader import Reader

EXCUSE = "<!-- not run: it needs 8 GPUs -->\n"
SETTINGS = stand_ins.small_flags("score.py")


def bash(*lines: str, excuse: str = "") -> str:
    return "\n".join(["# Title", "", f"{excuse}```bash", *lines, "```", ""])


def words(*lines: str) -> list[tuple[int, str]]:
    """The commands of a block, their words apart by `|`, with the numbers of their lines."""
    (block,) = find_blocks("page.md", bash(*lines))
    return [(command.line, "|".join(command.words)) for command in find_commands(block)]


class TestBlocks:
    def test_are_found_with_their_lines_and_excuses(self):
        text = "a\n```bash\nb\n\nc\n```\n<!-- not run: d e -->\n```python\nf\n```\n```text\ng\n```\n```\nh\n```\n"
        found = [(block.line, block.language, block.text, block.reason) for block in find_blocks("page.md", text)]
        assert found == [(3, "bash", "b\n\nc", None), (9, "python", "f", "d e")]

    def test_in_a_list_are_indented(self):
        (block,) = find_blocks("page.md", "1. a\n\n   ````bash\n   b \\\n     c\n   ```\n   ````\n")
        assert (block.line, block.text) == (4, "b \\\n  c\n```")

    def test_in_another_block_are_text(self):
        assert find_blocks("page.md", "````text\n<!-- not run -->\n```bash\na\n```\n````\n") == []

    @pytest.mark.parametrize(
        ("text", "line", "said"),
        [
            ("a\n<!-- not run: -->\n```bash\n```\n", 2, "says `not run`, and not why"),
            ("a\n<!-- not run -->\n```bash\n```\n", 2, "says `not run`, and not why"),
            ("<!-- not run: b -->\n\n```bash\n```\n", 1, "must stand on the line before a block"),
            ("<!-- not run: b -->\n```text\n```\n", 1, "must stand on the line before a block"),
            ("a\n<!-- not run: b -->\n", 2, "must stand on the line before a block"),
            ("a\n```sh\nb\n```\n", 2, "name the block bash or python"),
            ("a\n```bash\nb\n", 2, "the block has no end"),
        ],
    )
    def test_that_are_not_as_they_should_be(self, text, line, said):
        with pytest.raises(PageError) as caught:
            find_blocks("page.md", text)
        assert str(caught.value).startswith(f"page.md:{line}: ") and said in str(caught.value)


class TestCommands:
    def test_words_are_those_of_the_shell(self):
        assert words('a --b "c < 5 %"  # d', "# e", "", "f 'g h'") == [(4, "a|--b|c < 5 %"), (7, "f|g h")]

    def test_lines_go_on_behind_a_backslash_and_in_quotes(self):
        assert words("a \\", "  b \\", "  c", "d 'e", "f'", "g") == [(4, "a|b|c"), (7, "d|e\nf"), (9, "g")]

    def test_several_on_a_line(self):
        assert words("cd a && b c; d") == [(4, "cd|a"), (4, "b|c"), (4, "d")]

    @pytest.mark.parametrize("line", ["a | b", "a > b", "a &", "(a)", "a || b", "a < b"])
    def test_what_else_a_shell_can_do_is_not_done(self, line):
        with pytest.raises(
            PageError, match=r"page\.md:4: no test does what the shell does at .* run it here or mark it"
        ):
            words(line)

    def test_a_quote_must_end(self):
        with pytest.raises(PageError, match=r"page\.md:5: the command has no end"):
            words("a", "b 'c", "d")


@pytest.fixture
def reader(tmp_path, root, monkeypatch) -> Reader:
    """One whose scripts run nothing: `started` holds what they were given; they end as `codes` says."""
    (tmp_path / "recipes").symlink_to(root / "recipes")
    (tmp_path / "Makefile").symlink_to(root / "Makefile")

    def run_here(_place, script, *flags):
        made.started.append((script, *flags, os.environ.get("NOTE")))
        return CompletedProcess((), made.codes.get(script, 0), "out\n", "warning\nerror: no such thing\n")

    def put(kind, name, files, private):
        made.on_hub[name] = (kind, sorted(files), private)

    hub = SimpleNamespace(token="hf_t", put=put, repo=lambda _, name: made.on_hub.get(name))
    service = SimpleNamespace(questions=[], other_url="http://localhost:1/v1")
    made = Reader(tmp_path, run_here, service, hub, monkeypatch)
    made.started, made.codes, made.on_hub = [], {}, {}
    return made


class TestRun:
    def test_a_script_is_started_with_the_settings_that_stand_in(self, reader):
        reader.read("page.md", bash("python recipes/score.py --dataset me/mine --output_dir /shared/a"))
        given = ("--dataset", "tester/mine", "--output_dir", "shared/a")
        assert reader.started == [("score.py", *given, *SETTINGS, None)] and SETTINGS
        assert (reader.failures, reader.said) == ([], {"page.md:4": "out\n"})

    @pytest.mark.parametrize(
        "launcher",
        [
            "accelerate launch --config_file recipes/accelerate_configs/fsdp2.yaml --num_processes 8 recipes/score.py",
            "sbatch recipes/slurm/score.sbatch",
            "accelerate launch recipes/score.py",
        ],
    )
    def test_so_is_one_behind_a_launcher(self, reader, launcher):
        reader.read("page.md", bash(f"{launcher} --limit 3"))
        assert reader.failures == [] and reader.started == [("score.py", "--limit", "3", *SETTINGS, None)]

    def test_variables_last_and_keys_are_filled_in(self, reader):
        lines = ["NOTE=1 python recipes/publish.py", "python recipes/publish.py", "export NOTE=2 HF_TOKEN=..."]
        reader.read("page.md", bash(*lines, "python recipes/publish.py", "source .venv/bin/activate"))
        assert reader.started == [("publish.py", note) for note in ("1", None, "2")]
        assert os.environ["HF_TOKEN"] == "hf_t" and reader.failures == []

    @pytest.mark.parametrize(
        "line",
        ["pip install a", "make test", "python recipes/none.py", "python -m recipes", "export", "sbatch none.sbatch"],
    )
    def test_what_nothing_can_run_is_a_failure_that_says_what_to_do(self, reader, line):
        reader.read("a/page.md", bash("export A=1", line))
        (failure,) = reader.failures
        assert failure == f"a/page.md:5: no test can run `{line}`; run it here or mark it with <!-- not run: reason -->"

    def test_a_command_that_fails_does_not_hide_the_next_one(self, reader):
        reader.codes = {"score.py": 2, "sweep.py": 1}
        reader.read(
            "page.md", bash("python recipes/score.py 'a b'", "python recipes/publish.py", "python recipes/sweep.py")
        )
        assert [failure.split(":")[1] for failure in reader.failures] == ["4", "6"]
        assert reader.failures[0].endswith("recipes/score.py 'a b'\n    ended with 2: error: no such thing")

    def test_repositories_that_are_read_are_put_on_the_hub_and_others_are_not(self, reader):
        names = "--model_name_or_path HuggingFaceTB/SmolLM2-135M --hub_model_id meta-llama/Llama-2-7b-hf"
        command = f"python recipes/sft.py {names}"
        reader.read("page.md", bash(command, "python recipes/score.py --dataset me/mine"))
        assert list(reader.on_hub) == ["HuggingFaceTB/SmolLM2-135M"]  # me/mine is not published yet
        kind, files, private = reader.on_hub.popitem()[1]
        assert (kind, private) == ("model", False) and "model.safetensors" in files
        reader.read("page.md", bash("python recipes/sft.py --config recipes/alpaca-selectit-mistral-7b/sft.yaml"))
        assert list(reader.on_hub) == ["mistralai/Mistral-7B-v0.1"]  # it is named in the YAML

    def test_what_is_on_the_hub_already_stays(self, reader):
        reader.on_hub["openai-community/gpt2"] = "published by the page"
        reader.read("page.md", bash("python recipes/score.py --model_name_or_path openai-community/gpt2"))
        assert reader.on_hub == {"openai-community/gpt2": "published by the page"}

    def test_python_is_run_in_the_folder_unless_it_is_excused(self, reader, tmp_path):
        page = (
            "```python\nfrom pathlib import Path\nprint(Path.cwd())\n```\n<!-- not run: a -->\n```python\n1 / 0\n```\n"
        )
        reader.read("page.md", page)
        assert reader.said == {"page.md:2": f"{tmp_path}\n"}
        with pytest.raises(ZeroDivisionError):
            reader.read("page.md", page.replace("<!-- not run: a -->\n", ""))

    def test_an_excuse_without_a_reason_is_a_failure(self, reader):
        reader.read("page.md", bash("python recipes/score.py", excuse="<!-- not run: -->\n"))
        assert reader.started == [] and "says `not run`, and not why" in reader.failures[0]


class TestLookAt:
    """The blocks that are excused, with the real scripts."""

    @pytest.fixture
    def failures(self, reader, script, root):
        def read(*lines: str) -> list[str]:
            real = Reader(root, script.func, reader.service, reader.hub, reader.patch)
            real.read("page.md", bash(*lines, excuse=EXCUSE))
            return real.failures

        return read

    @pytest.mark.parametrize(
        "line",
        [
            "python recipes/reflect.py --dataset my_rows.jsonl --oracle openai --oracle_model m",
            "NOTE=1 accelerate launch --num_processes 8 recipes/score.py --config recipes/quickstart/score.yaml",
            "sbatch recipes/slurm/sft.sbatch --config recipes/recycled-alpaca-llama2-7b/sft.yaml --bf16 true",
            "python recipes/recycle.py recipes/quickstart --dry_run",
            "python recipes/recycle.py recipes/mine --dry_run",
            "make quickstart PYTHON=python3.12",
            "pip install vllm | tee log",
        ],
    )
    def test_are_not_run(self, failures, line):
        assert failures(line) == []

    def test_nor_are_those_of_a_page_that_is_only_looked_at(self, reader):
        page = bash("python recipes/score.py --limt 3", "make test") + "```python\n1 / 0\n```\n"
        reader.read("page.md", page, only_look=True)
        assert [given[:3] for given in reader.started] == [("score.py", "--limt", "3")] and reader.failures == []

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("python recipes/reflect.py --dataset a --oracel openai", "error: unknown flag --oracel"),
            ("python recipes/reflect.py --dataset a --oracle openai", "error: --oracle openai: needs --oracle_model"),
            ("python recipes/sft.py --model_name_or_path a --epochs 3", "error: unknown flag --epochs"),
            ("accelerate launch recipes/score.py --dataset a", "error: --model_name_or_path: name the student"),
            ("accelerate launch --processes 8 recipes/score.py", "accelerate does not take the flags"),
            ("sbatch recipes/slurm/score.sbatch --limt 3", "error: unknown flag --limt"),
            ("python recipes/recycle.py recipes/quickstart --form_stage sft", "unrecognized arguments: --form_stage"),
            (
                "python recipes/score.py --config recipes/quickstart/scores.yaml",
                "there is no recipes/quickstart/scores.yaml",
            ),
            ("make quikstart", "the Makefile has no target quikstart"),
        ],
    )
    def test_but_their_flags_and_files_must_be_right(self, failures, line, said):
        (failure,) = failures(line)
        assert failure.startswith("page.md:5: ") and said in failure
