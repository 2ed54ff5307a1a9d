"""Command lines: which value wins, what is refused and with which line, and how a script ends."""

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from hub_cards.cli import explicit_settings, fail, is_main_process, parse_config, read_yaml, run, run_main, say
from hub_cards.errors import BadInputError, StoppedError


@dataclass
class Settings:
    """Settings of every kind that the scripts have."""

    __module__ = "hub_cards.made_by_the_test"  # one of ours, so its types are checked

    dataset: str = field(metadata={"help": "needed"})
    limit: int | None = field(default=None, metadata={"help": "a number or null"})
    max_length: int = field(default=2048, metadata={"help": "a number"})
    fraction: float = field(default=0.1, metadata={"help": "a float"})
    template: str = field(default="vicuna", metadata={"help": "text"})
    reflected_only: bool = field(default=True, metadata={"help": "a flag"})
    variants: list[str] = field(default_factory=lambda: ["both"], metadata={"help": "a list"})

    def __post_init__(self) -> None:
        if self.max_length < 2:
            raise BadInputError(f"--max_length {self.max_length}: must be at least 2")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"--fraction {self.fraction}: is no share\nof anything")


@dataclass
class OtherSettings:
    """Like TRL's: not ours."""

    learning_rate: float = field(default=2e-5, metadata={"help": "a float"})


@pytest.fixture
def config(tmp_path: Path):
    """Write a YAML and return its path."""

    def write(content: str | dict) -> str:
        path = tmp_path / "settings.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return str(path)

    return write


class TestWhichValueWins:
    @pytest.mark.parametrize(
        ("in_yaml", "flags", "expected"),
        [
            ({}, [], 2048),
            ({"max_length": 512}, [], 512),
            ({}, ["--max_length", "64"], 64),
            ({"max_length": 512}, ["--max_length", "64"], 64),
            ({"max_length": 512}, ["--max_length=64"], 64),
            ({"max_length": 512}, ["--max-length", "64"], 64),
            ({"max_length": 512}, ["--max_length", "2048"], 2048),
        ],
    )
    def test_flag_beats_yaml_beats_default(self, in_yaml, flags, expected, config):
        path = config({"dataset": "d", **in_yaml})
        assert parse_config(Settings, ["--config", path, *flags]).max_length == expected
        assert parse_config(Settings, [*flags, "--config", path]).max_length == expected

    @pytest.mark.parametrize(
        ("flags", "expected"), [([], True), (["--no_reflected_only"], False), (["--reflected_only", "false"], False)]
    )
    def test_booleans_by_flag(self, flags, expected):
        assert parse_config(Settings, ["--dataset", "d", *flags]).reflected_only is expected

    def test_flag_turns_a_yaml_boolean_round(self, config):
        path = config("dataset: d\nreflected_only: false\n")
        assert parse_config(Settings, ["--config", path]).reflected_only is False
        assert parse_config(Settings, ["--config", path, "--reflected_only"]).reflected_only is True

    def test_list_by_flag_replaces_the_one_of_the_yaml(self, config):
        path = config("dataset: d\nvariants: [instruction, response]\n")
        assert parse_config(Settings, ["--config", path]).variants == ["instruction", "response"]
        assert parse_config(Settings, ["--config", path, "--variants", "both"]).variants == ["both"]

    def test_config_with_an_equals_sign(self, config):
        argv = [f"--config={config('dataset: from yaml')}"]
        assert parse_config(Settings, argv).dataset == "from yaml"
        assert argv[0].startswith("--config=")  # the caller's list is left alone

    def test_command_line_is_the_process_own_by_default(self, monkeypatch):
        monkeypatch.setattr("sys.argv", ["script.py", "--dataset", "d"])
        assert parse_config(Settings).dataset == "d"

    def test_several_classes_share_one_yaml(self, config):
        path = config({"dataset": "d", "learning_rate": 0.5, "limit": 3})
        ours, other = parse_config((Settings, OtherSettings), ["--config", path])
        assert (ours.dataset, ours.limit, other.learning_rate) == ("d", 3, 0.5)


class TestTypes:
    @pytest.mark.parametrize(
        ("line", "name", "expected"),
        [
            ("limit: 3", "limit", 3),
            ("limit: '3'", "limit", 3),  # as on the command line
            ("limit: null", "limit", None),
            ("limit:", "limit", None),
            ("fraction: 1", "fraction", 1.0),
            ("fraction: 1e-2", "fraction", 0.01),  # to YAML 1.1 this is a string
            ("template: größe 🦜", "template", "größe 🦜"),
        ],
    )
    def test_right_ones_are_taken(self, line, name, expected, config):
        value = getattr(parse_config(Settings, ["--config", config(f"dataset: d\n{line}\n")]), name)
        assert value == expected
        assert type(value) is type(expected)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("limit: many", "argument --limit: invalid int value: 'many'"),
            ("limit: true", "--limit True: must be int or null"),
            ("limit: 1.5", "--limit 1.5: must be int or null"),
            ("limit: [1]", "--limit [1]: must be int or null"),
            ("max_length:", "--max_length None: must be int"),
            ("max_length: {a: 1}", "--max_length {'a': 1}: must be int"),
            ("fraction: yes", "--fraction True: must be float"),
            ("fraction: half", "argument --fraction: invalid float value: 'half'"),
            ("template: 5", "--template 5: must be str"),
            ("template: no", "--template False: must be str"),
            ("template: [a, b]", "--template ['a', 'b']: must be str"),
            ("variants: both", "--variants 'both': must be list"),
            ("variants: {both: 1}", "--variants {'both': 1}: must be list"),
            ("reflected_only: 1", "--reflected_only 1: must be bool"),
        ],
    )
    def test_wrong_ones_in_a_yaml_are_named(self, line, message, config, complaint):
        assert message in complaint(parse_config, Settings, ["--config", config(f"dataset: d\n{line}\n")])

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--limit", "many"], "argument --limit: invalid int value: 'many'"),
            (["--limit"], "argument --limit: expected one argument"),
            (["--reflected_only", "perhaps"], "got perhaps"),
            (["--max_length", "1"], "--max_length 1: must be at least 2"),
            (["--fraction", "7"], "--fraction 7.0: is no share"),
        ],
    )
    def test_wrong_ones_by_flag_are_named(self, flags, message, complaint):
        assert message in complaint(parse_config, Settings, ["--dataset", "d", *flags])

    def test_needed_setting_that_is_missing_is_named(self, complaint):
        assert "--dataset" in complaint(parse_config, Settings, ["--limit", "3"])


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("max_lenght: 5", "unknown key 'max_lenght'; did you mean max_length?"),
            ("max-length: 5", "unknown key 'max-length'; did you mean max_length?"),
            ("xyzzy: 5", "unknown key 'xyzzy'; --help lists the known ones"),
            ("3: 5", "unknown key 3; --help lists the known ones"),
            ("config: other.yaml", "unknown key 'config'; --help lists the known ones"),
            ("env: {OPENAI_API_KEY: sk-1}", "unknown key 'env'; --help lists the known ones"),
        ],
    )
    def test_key_in_yaml(self, line, message, config, complaint):
        path = config(f"dataset: d\n{line}\n")
        assert complaint(parse_config, Settings, ["--config", path]) == f"--config {path}: {message}"

    def test_env_of_a_yaml_does_not_get_into_the_environment(self, config, complaint, monkeypatch):
        monkeypatch.delenv("RT_TEST_KEY", raising=False)
        complaint(parse_config, Settings, ["--config", config("dataset: d\nenv: {RT_TEST_KEY: secret}\n")])
        assert "RT_TEST_KEY" not in os.environ

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--max_lenght", "5"], "unknown flag --max_lenght; did you mean --max_length"),
            (["--max_lenght=5"], "unknown flag --max_lenght; did you mean --max_length"),
            (["--lim", "5"], "unknown flag --lim; did you mean --limit"),
            (["--xyzzy"], "unknown flag --xyzzy; --help lists the known ones"),
            (["stray"], "['stray']"),
            (["-x"], "['-x']"),
            (["--config", "b.yaml"], "['--config', 'b.yaml']"),
        ],
    )
    def test_flag(self, flags, message, config, complaint):
        argv = ["--config", config("dataset: d\n"), *flags]
        assert message in complaint(parse_config, Settings, argv)


class TestConfigFile:
    def test_without_a_name(self, complaint):
        assert complaint(parse_config, Settings, ["--dataset", "d", "--config"]) == "--config: names no file"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "cannot be read (No such file or directory)"),
            ("dataset: [d\n", "is not YAML ("),
            ("dataset: d: e\n", "is not YAML ("),
            ("\tdataset: d\n", "is not YAML ("),
            ("dataset: !!python/name:os.system\n", "is not YAML ("),
            ("", "must hold `key: value` lines"),
            ("# only a comment\n", "must hold `key: value` lines"),
            ("- dataset\n", "must hold `key: value` lines"),
            ("dataset\n", "must hold `key: value` lines"),
            (b"dataset: \xff\n", "cannot be read ("),
        ],
    )
    @pytest.mark.parametrize("form", ["--config {}", "--config={}"])
    def test_that_is_no_settings_file(self, content, reason, form, tmp_path, complaint):
        path = tmp_path / "settings.yaml"
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        message = complaint(parse_config, Settings, form.format(path).split())
        assert message.startswith(f"--config {path}: {reason}")

    def test_folder(self, tmp_path, complaint):
        assert complaint(read_yaml, str(tmp_path)) == f"--config {tmp_path}: cannot be read (Is a directory)"


class TestExplicitSettings:
    @pytest.mark.parametrize(
        ("argv", "expected"),
        [
            ([], {}),
            (["--max_steps", "3"], {"max_steps": 3}),
            (["--max_steps=3"], {"max_steps": 3}),
            (["--max-steps", "3"], {"max_steps": 3}),
            (["--max-steps=3"], {"max_steps": 3}),
            (["--learning_rate", "1.0e-4"], {"learning_rate": 1e-4}),
            (["--learning_rate", "-0.5"], {"learning_rate": -0.5}),
            (["--bf16", "false", "--use_cpu", "--seed", "0"], {"bf16": False, "use_cpu": True, "seed": 0}),
            (["--report_to", "none"], {"report_to": "none"}),
            (["--limit", "null"], {"limit": None}),
            (["--variants", "a", "b", "--seed", "1"], {"variants": ["a", "b"], "seed": 1}),
            (["--betas", "0.9", "0.99"], {"betas": [0.9, 0.99]}),
            (["--betas", "[0.9, 0.99]"], {"betas": [0.9, 0.99]}),
            (["--seed", "1", "--seed", "2"], {"seed": 2}),
            (["--dataset", "[x/rows.jsonl"], {"dataset": "[x/rows.jsonl"}),
            (["--dataset=@home/rows"], {"dataset": "@home/rows"}),
        ],
    )
    def test_flags_are_read_as_yaml_reads_them(self, argv, expected):
        settings = explicit_settings(argv)
        assert settings == expected
        assert {name: type(value) for name, value in settings.items()} == {
            name: type(value) for name, value in expected.items()
        }

    @pytest.mark.parametrize("form", ["--config {}", "--config={}"])
    def test_flag_wins_over_the_yaml_and_defaults_have_no_part(self, form, config):
        path = config("max_steps: 3\nseed: 0\nvariants: [a, b]\n")
        settings = explicit_settings([*form.format(path).split(), "--seed", "7"])
        assert settings == {"max_steps": 3, "seed": 7, "variants": ["a", "b"]}

    @pytest.mark.parametrize("line", ["steps: 3", "bf16: false", "lr: 1e-4", "name: x y", "limit: null", "ids: [1, 2]"])
    def test_same_setting_by_flag_and_by_yaml(self, line, config):
        name, value = line.split(": ")
        assert explicit_settings([f"--{name}", value]) == explicit_settings(["--config", config(line)])


class TestRunMain:
    @pytest.mark.parametrize(
        ("error", "code", "words"),
        [
            (BadInputError("--limit 0: must be at least 1"), 2, "error: --limit 0: must be at least 1"),
            (BadInputError("two\nlines  of text\n"), 2, "error: two lines of text"),
            (OSError(errno.ENOSPC, "No space left on device"), 1, "error: the disk is full; finished parts are kept"),
            (
                StoppedError("the account is empty; the same\ncommand goes on"),
                1,
                "error: the account is empty; the same",
            ),
            (KeyboardInterrupt(), 130, "error: interrupted; finished parts are kept"),
        ],
    )
    def test_expected_end_is_one_line_and_its_exit_code(self, error, code, words, capsys):
        def main():
            raise error

        with pytest.raises(SystemExit) as ended:
            run_main(main)
        printed = capsys.readouterr()
        assert ended.value.code == code
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert printed.err.startswith(words)

    def test_a_file_that_may_not_be_read_is_bad_input(self, capsys):
        def main():
            raise PermissionError(errno.EACCES, "no", "theirs.json")

        with pytest.raises(SystemExit) as caught:
            run_main(main)
        assert caught.value.code == 2
        assert capsys.readouterr().err == "error: theirs.json: permission denied\n"

    @pytest.mark.parametrize("error", [ValueError("ours"), OSError(errno.EIO, "no"), KeyError("row_id")])
    def test_defect_keeps_its_traceback(self, error):
        def main():
            raise error

        with pytest.raises(type(error)) as caught:
            run_main(main)
        assert caught.value is error

    def test_success_prints_and_raises_nothing(self, capsys):
        assert run_main(lambda: None) is None
        assert capsys.readouterr() == ("", "")


class TestRun:
    def test_gives_main_what_was_parsed(self, monkeypatch):
        monkeypatch.setattr("sys.argv", ["script.py", "--dataset", "d", "--learning_rate", "0.5"])
        seen = []
        run(lambda *parsed: seen.append(parsed), (Settings, OtherSettings))
        ((ours, other),) = seen
        assert (ours.dataset, other.learning_rate) == ("d", 0.5)

    def test_bad_command_line_ends_with_2_and_does_not_call_main(self, monkeypatch, capsys):
        monkeypatch.setattr("sys.argv", ["script.py", "--dataset", "d", "--xyzzy"])
        with pytest.raises(SystemExit) as ended:
            run(lambda _: pytest.fail("called"), Settings)
        assert ended.value.code == 2
        assert capsys.readouterr().err == "error: unknown flag --xyzzy; --help lists the known ones\n"

    @pytest.mark.parametrize(
        ("rank", "every_process", "called"),
        [(None, False, 1), ("0", False, 1), ("1", False, 0), ("1", True, 1)],
    )
    def test_only_the_first_process_works_unless_work_is_shared(self, rank, every_process, called, monkeypatch):
        monkeypatch.setattr("sys.argv", ["script.py", "--dataset", "d"])
        monkeypatch.delenv("RANK", raising=False)
        if rank is not None:
            monkeypatch.setenv("RANK", rank)
        seen = []
        run(seen.append, Settings, every_process=every_process)
        assert len(seen) == called


def test_fail_prints_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        fail("score ended\nwith 7", 7)
    assert ended.value.code == 7
    assert capsys.readouterr() == ("", "error: score ended with 7\n")


@pytest.mark.parametrize(("rank", "main"), [(None, True), ("0", True), ("1", False), ("12", False)])
def test_only_the_main_process_speaks(rank, main, monkeypatch, capsys):
    monkeypatch.delenv("RANK", raising=False)
    if rank:
        monkeypatch.setenv("RANK", rank)
    say("score", "4 rows")
    assert is_main_process() is main
    assert capsys.readouterr().out == ("[score] 4 rows\n" if main else "")
