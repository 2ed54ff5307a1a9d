"""Benchmarks: the pins are the installed harness's, its numbers are the model's own, and what is done is kept."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hub_cards.errors import BadInputError
from hub_cards.sources import Source, find_model
from training import benchmarks
from training.benchmarks import (
    Catalog,
    PinnedTask,
    check_benchmarks,
    check_harness,
    part_names,
    read_catalog,
    run_benchmarks,
)

lm_eval = pytest.importorskip("lm_eval")
TASKS = Path(lm_eval.__file__).parent / "tasks"
# Where the harness keeps the pinned ones: reading all of its task files takes long.
FOLDERS = ("arc", "hellaswag", "mmlu/default", "truthfulqa", "winogrande", "gsm8k", "bbh/cot_fewshot", "tydiqa")
QUESTIONS = [
    {
        "question": f"What comes after {word}?",
        "choices": [f"the {word}", "a longer answer about birds", str(number)],
        "answer": number % 3,
    }
    for number, word in enumerate(("rain", "one", "Monday", "summer", "tea", "a storm", "the end", "work", "seven"))
]
TASK = """
task: {name}
tag: tiny_parts
dataset_path: json
dataset_kwargs: {{data_files: {{train: {rows}, test: {rows}}}}}
output_type: multiple_choice
training_split: train
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: answer
doc_to_choice: choices
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0}}
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    """Two tasks over local files, the second with four of the questions, and the tag that holds both."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, rows in (("tiny_a", QUESTIONS), ("tiny_b", QUESTIONS[:4])):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, rows=folder / f"{name}.jsonl"))
    plain = PinnedTask("tiny_a", "me/tiny", shots=0, metric="acc", filter="none", version=1.0)
    parts = replace(plain, name="tiny_parts", metric="acc_norm", parts=2, weighted=True)
    tasks = {"tiny_a": plain, "tiny_b": replace(plain, name="tiny_b"), "tiny_parts": parts}
    return Catalog(tasks, {"tiny": ("tiny_a", "tiny_parts")}, folder)


@pytest.fixture(scope="module")
def student(quickstart) -> Source:
    return find_model(str(quickstart / "student"))


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="module")
def results(catalog, student, cache_dir) -> list[dict]:
    return run_benchmarks(
        student, ["tiny", "tiny_b"], batch_size=4, cache_dir=cache_dir, dtype="float32", catalog=catalog
    )


@pytest.fixture(scope="module")
def naive(student) -> dict[str, list[bool]]:
    """Whether the right choice has the highest log-likelihood, as it is (`acc`) and by character (`acc_norm`)."""
    tokenizer = AutoTokenizer.from_pretrained(student.location)
    model = AutoModelForCausalLM.from_pretrained(student.location, dtype=torch.float32).eval()
    right: dict[str, list[bool]] = {"acc": [], "acc_norm": []}
    for row in QUESTIONS:
        context = f"Question: {row['question']}\nAnswer:"
        start = len(tokenizer(context)["input_ids"])
        sums = []
        for choice in row["choices"]:
            ids = torch.tensor([tokenizer(f"{context} {choice}")["input_ids"]])
            with torch.no_grad():
                logs = model(ids).logits.log_softmax(-1)[0]
            sums.append(sum(logs[place - 1, ids[0, place]].item() for place in range(start, ids.shape[1])))
        by_character = [value / len(choice) for value, choice in zip(sums, row["choices"], strict=True)]
        right["acc"].append(sums.index(max(sums)) == row["answer"])
        right["acc_norm"].append(by_character.index(max(by_character)) == row["answer"])
    return right


class TestResults:
    def test_are_those_of_a_naive_computation(self, results, naive):
        n = len(QUESTIONS)
        accuracy = sum(naive["acc"]) / n
        assert 0 < accuracy < 1
        assert results[0] == {
            "task": "tiny_a",
            "suite": "tiny",
            "metric": "acc",
            "value": pytest.approx(accuracy),
            "stderr": pytest.approx(math.sqrt(accuracy * (1 - accuracy) / (n - 1))),
            "shots": 0,
            "version": 1.0,
            "n": n,
            "n_all": n,
            "dataset": "me/tiny",
        }

    def test_of_parts_are_weighted_by_their_questions(self, results, naive):
        right = [*naive["acc_norm"], *naive["acc_norm"][:4]]
        assert results[1]["value"] == pytest.approx(sum(right) / len(right))
        assert (results[1]["n"], results[1]["metric"]) == (13, "acc_norm")
        assert 0 < results[1]["stderr"] < 0.5

    def test_of_parts_that_count_alike_are_not(self, catalog, student, cache_dir, naive):
        alike = replace(catalog.tasks["tiny_parts"], weighted=False)
        again = replace(catalog, tasks={"tiny_parts": alike})
        (found,) = run_benchmarks(
            student, ["tiny_parts"], batch_size=4, cache_dir=cache_dir, dtype="float32", catalog=again
        )
        parts = (naive["acc_norm"], naive["acc_norm"][:4])
        assert found["value"] == pytest.approx(sum(sum(part) / len(part) for part in parts) / 2)

    def test_of_a_suite_end_with_its_mean_and_single_tasks_have_none(self, results):
        assert [(row["task"], row["suite"]) for row in results] == [
            ("tiny_a", "tiny"),
            ("tiny_parts", "tiny"),
            ("tiny", "tiny"),
            ("tiny_b", None),
        ]
        assert results[2]["metric"] == "mean"
        assert results[2]["value"] == pytest.approx((results[0]["value"] + results[1]["value"]) / 2)
        assert results[2]["n"] is results[2]["stderr"] is results[2]["shots"] is None
        assert {frozenset(row) for row in results} == {frozenset(results[0])}

    def test_without_a_value_leave_their_suite_without_a_mean(self, catalog, results):
        by_task = {row["task"]: row for row in results}
        rows = benchmarks._in_order({**by_task, "tiny_a": {**results[0], "value": None}}, ["tiny"], catalog)
        assert [row["task"] for row in rows] == ["tiny_a", "tiny_parts"]

    def test_of_some_questions_say_of_how_many(self, catalog, student, tmp_path):
        (found,) = run_benchmarks(student, ["tiny_a"], batch_size=1, cache_dir=tmp_path, limit=1, catalog=catalog)
        assert (found["n"], found["n_all"], found["stderr"]) == (1, len(QUESTIONS), None)

    def test_of_more_shots_have_as_many_solved_examples_before_each_question(
        self, catalog, student, tmp_path, monkeypatch
    ):
        from lm_eval.models.huggingface import HFLM

        contexts, loglikelihood = [], HFLM.loglikelihood

        def recorded(self, requests, *rest):
            contexts.extend(request.args[0] for request in requests)
            return loglikelihood(self, requests, *rest)

        monkeypatch.setattr(HFLM, "loglikelihood", recorded)
        shown = replace(catalog, tasks={"tiny_a": replace(catalog.tasks["tiny_a"], shots=2)})
        run_benchmarks(student, ["tiny_a"], batch_size=4, cache_dir=tmp_path, limit=2, catalog=shown)
        assert [context.count("Question:") for context in contexts] == [3] * 2 * 3
        assert all(context.endswith("Answer:") for context in contexts)


class TestResuming:
    def test_what_was_finished_is_not_measured_again(self, catalog, student, tmp_path, results, monkeypatch):
        measure, measured = benchmarks._measure, []

        def stopped(lm, manager, part, pins, limit):
            measured.append((pins.name, part))
            if len(measured) == 3:
                raise KeyboardInterrupt
            return measure(lm, manager, part, pins, limit)

        monkeypatch.setattr(benchmarks, "_measure", stopped)
        options = {"batch_size": 4, "cache_dir": tmp_path, "dtype": "float32", "catalog": catalog}
        with pytest.raises(KeyboardInterrupt):
            run_benchmarks(student, ["tiny", "tiny_b"], **options)
        assert run_benchmarks(student, ["tiny", "tiny_b"], **options) == results
        first, last = [("tiny_a", "tiny_a"), ("tiny_parts", "tiny_a")], [("tiny_parts", "tiny_b"), ("tiny_b", "tiny_b")]
        assert measured == [*first, last[0], *last]

    def test_what_is_kept_needs_no_model(self, catalog, student, cache_dir, results, monkeypatch):
        monkeypatch.setattr(benchmarks, "_load_model", None)
        names = ["tiny", "tiny_b"]
        kept = run_benchmarks(student, names, batch_size=1, cache_dir=cache_dir, dtype="float32", catalog=catalog)
        assert kept == results

    def test_key_holds_all_that_decides_the_result(self, catalog, student):
        task = catalog.tasks["tiny_a"]
        settings = [
            (student, "tiny_a", task, "float32", None),
            (replace(student, fingerprint="other"), "tiny_a", task, "float32", None),
            (student, "tiny_b", task, "float32", None),
            (student, "tiny_a", replace(task, shots=1), "float32", None),
            (student, "tiny_a", replace(task, metric="acc_norm"), "float32", None),
            (student, "tiny_a", replace(task, version=2.0), "float32", None),
            (student, "tiny_a", task, "bfloat16", None),
            (student, "tiny_a", task, "float32", 3),
        ]
        assert len({benchmarks._key(*one) for one in settings}) == len(settings)
        moved = replace(student, location="elsewhere")
        assert benchmarks._key(moved, *settings[0][1:]) == benchmarks._key(*settings[0])


class TestPins:
    @pytest.fixture(scope="class")
    def manager(self):
        from lm_eval.tasks import TaskManager

        return TaskManager(include_defaults=False, include_path=[TASKS / folder for folder in FOLDERS])

    @pytest.mark.parametrize("name", read_catalog().tasks)
    def test_are_what_the_installed_harness_has(self, name, manager):
        task = read_catalog().tasks[name]
        for part in part_names(manager, task):
            config = manager.task_index[part].cfg
            assert config["metadata"]["version"] == task.version
            assert config["dataset_path"] == task.dataset
            filters = [one["name"] for one in config.get("filter_list", [{"name": "none"}])]
            assert task.filter in filters
            assert task.metric in [one["metric"] for one in config["metric_list"]]
            assert config.get("num_fewshot") in (None, task.shots)

    def test_groups_are_averaged_as_the_harness_does(self, manager):
        for name in ("mmlu", "bbh"):
            (rule,) = manager.task_index[name].cfg["aggregate_metric_list"]
            assert rule["weight_by_size"] is read_catalog().tasks[name].weighted is True
        assert manager.task_index["tydiqa_goldp"].kind.name == "TAG"  # the harness has no mean for it

    def test_suites_are_those_of_the_leaderboard_and_of_selectit(self):
        catalog = read_catalog()
        shots = {
            name: {task: catalog.tasks[task].shots for task in members} for name, members in catalog.suites.items()
        }
        assert shots == {
            "open_llm_leaderboard_v1": {
                "arc_challenge": 25,
                "hellaswag": 10,
                "mmlu": 5,
                "truthfulqa_mc2": 0,
                "winogrande": 5,
                "gsm8k": 5,
            },
            "selectit": {"mmlu": 5, "gsm8k_cot": 8, "bbh": 3, "tydiqa_goldp": 1},
        }

    def test_other_versions_and_other_parts_are_refused(self, catalog, student, tmp_path):
        for change, complaint in (
            ({"version": 2.0}, "has version 1.0 of tiny_a, pinned is 2.0"),
            ({"parts": 3}, "has 1"),
        ):
            tasks = {"tiny_a": replace(catalog.tasks["tiny_a"], **change)}
            with pytest.raises(BadInputError, match=complaint):
                run_benchmarks(
                    student, ["tiny_a"], batch_size=1, cache_dir=tmp_path, catalog=replace(catalog, tasks=tasks)
                )


class TestBadInput:
    def test_unknown_names_are_answered_with_the_known_ones(self):
        check_benchmarks(["open_llm_leaderboard_v1", "bbh"])
        with pytest.raises(BadInputError, match=r"--benchmarks 'tydiqa': .* selectit, .* tydiqa_goldp$"):
            check_benchmarks(["selectit", "tydiqa"])
        with pytest.raises(BadInputError, match="names something twice"):
            check_benchmarks(["bbh", "bbh"])

    def test_missing_harness_is_named_by_its_extra(self, monkeypatch):
        check_harness()
        monkeypatch.setattr(benchmarks, "find_spec", lambda _name: None)
        with pytest.raises(BadInputError, match=r'pip install "reflection-tuning\[benchmarks\]"$'):
            check_harness()

    def test_questions_out_of_reach_are_one_line(self, student, tmp_path):
        arc = read_catalog(folder=TASKS / "arc")
        with pytest.raises(BadInputError, match=r"the questions of arc_challenge \(allenai/ai2_arc\) cannot") as caught:
            run_benchmarks(student, ["arc_challenge"], batch_size=1, cache_dir=tmp_path, catalog=arc)
        assert "\n" not in str(caught.value)

    def test_more_processes_than_questions_are_refused(self, catalog, student, tmp_path):
        with pytest.raises(BadInputError, match="--benchmark_limit 0: leaves some of the 1 processes without work"):
            run_benchmarks(student, ["tiny_a"], batch_size=1, cache_dir=tmp_path, limit=0, catalog=catalog)

    def test_importing_the_names_takes_no_torch(self, root):
        code = "import sys, training.benchmarks as b; b.check_benchmarks(['bbh']); print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


SCRIPT = """
import sys
from pathlib import Path
from accelerate import PartialState
from hub_cards.sources import find_model
from training.benchmarks import Catalog, PinnedTask, run_benchmarks
student, tasks, cache = sys.argv[1:]
pins = PinnedTask("tiny_a", "me/tiny", shots=0, metric="acc", filter="none", version=1.0)
(found,) = run_benchmarks(find_model(student), ["tiny_a"], batch_size=4, cache_dir=Path(cache), dtype="float32",
                          catalog=Catalog({"tiny_a": pins}, {}, Path(tasks)))
state = PartialState()
print("rank", state.process_index, state.num_processes, found["value"], found["n"], flush=True)
state.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_share_the_questions_and_agree(catalog, student, results, root, tmp_path):
    (tmp_path / "share.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command += [tmp_path / "share.py", student.location, catalog.folder, tmp_path / "kept"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    assert lines == [f"rank {rank} 2 {results[0]['value']} 9" for rank in (0, 1)]
    assert len(list((tmp_path / "kept").iterdir())) == 1
