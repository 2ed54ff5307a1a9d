"""`recipes/score.py` by one process and by several, killed, resumed, and with each of its settings."""

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from datasets import DatasetDict, load_from_disk

from scoring.ratios import LOSS_KEYS, columns_of_token_losses


def launch(root: Path, processes: int, *arguments) -> subprocess.Popen:
    command = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(processes), "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    path = f"{Path(os.sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=root,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_same_scores(one: DatasetDict, other: DatasetDict, tolerance: float = 1e-6) -> None:
    """Numbers within a relative tolerance, everything else equal."""
    assert list(one) == list(other)
    for name in one:
        a, b = one[name].to_pandas(), other[name].to_pandas()
        numbers = a.select_dtypes("float").columns
        lists = [column for column in a.columns if column.startswith("token_losses")]
        assert a.drop(columns=[*numbers, *lists]).equals(b.drop(columns=[*numbers, *lists]))
        for column in lists:
            np.testing.assert_allclose(np.concatenate(a[column]), np.concatenate(b[column]), rtol=1e-4, atol=1e-4)
        assert (a[numbers].isna() == b[numbers].isna()).all(axis=None)
        assert ((a[numbers] - b[numbers]).abs() <= tolerance * a[numbers].abs()).fillna(True).all(axis=None)


@pytest.fixture
def flags(small_recipe, small_run) -> tuple:
    """The small recipe's scoring, of what it reflected."""
    return ("--config", small_recipe / "score.yaml", "--dataset", small_run / "reflect")


def test_two_processes_give_the_numbers_of_one(root, flags, small_run, tmp_path):
    process = launch(root, 2, "recipes/score.py", *flags, "--output_dir", tmp_path / "s")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "[score] 2 process(es) on cpu" in out
    assert_same_scores(load_from_disk(small_run / "score"), load_from_disk(tmp_path / "s"))


@pytest.mark.timeout(900)
def test_a_rank_killed_midway_costs_its_shard_and_nothing_else(root, script, flags, small_run, tmp_path):
    """kill -9 of one of two ranks; then three ranks, killed as a whole; then one process ends it."""
    work = tmp_path / ".s.work"
    finished: dict[Path, int] = {}
    for processes, victim in ((2, "a rank"), (3, "all")):
        process = launch(root, processes, "recipes/score.py", *flags, "--output_dir", tmp_path / "s")
        ranks = psutil.Process(process.pid)
        deadline = time.monotonic() + 200
        while len(list(work.glob("*.arrow"))) <= len(finished) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        children = ranks.children(recursive=True)
        for child in children if victim == "all" else children[-1:]:
            child.kill()
        if victim == "all":
            process.kill()
        process.communicate(timeout=200)
        assert process.returncode != 0
        assert not (tmp_path / "s").exists()
        for path, changed in finished.items():
            assert path.stat().st_mtime_ns == changed  # another number of processes takes what is there
        finished = {path: path.stat().st_mtime_ns for path in work.glob("*.arrow")}
    done = script("score.py", *flags, "--output_dir", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    assert_same_scores(load_from_disk(small_run / "score"), load_from_disk(tmp_path / "s"))
    assert not work.exists()


def test_batch_size_and_layout_do_not_change_the_numbers(script, flags, small_run, tmp_path):
    settings = ("--max_batch_tokens", "1", "--attn_implementation", "eager")
    done = script("score.py", *flags, "--limit", "2", "--output_dir", tmp_path / "s", *settings)
    assert done.returncode == 0, done.stderr
    assert "[score] padded (asked for), 1 tokens a batch" in done.stdout
    wanted = DatasetDict({name: part.select(range(2)) for name, part in load_from_disk(small_run / "score").items()})
    assert_same_scores(wanted, load_from_disk(tmp_path / "s"), tolerance=2e-5)


def test_token_losses_give_the_scores_again_without_a_model(script, flags, small_run, tmp_path):
    done = script("score.py", *flags, "--limit", "4", "--output_dir", tmp_path / "s", "--keep_token_losses", "true")
    assert done.returncode == 0, done.stderr
    assert "[score] packed, common prefixes once, 2,048 tokens a batch; self-check: losses within" in done.stdout
    assert "[score] 16 rows: IFD of 1 or more in" in done.stdout and " of the 4 original ones, cut at" in done.stdout
    assert "16 of 16 rows," in done.stdout and "tokens/s" in done.stdout
    for name, part in load_from_disk(tmp_path / "s").items():
        for row, scored in zip(part, load_from_disk(small_run / "score")[name], strict=False):
            again = columns_of_token_losses(row)
            assert again == {column: row[column] for column in again}
            assert {column: pytest.approx(scored[column], rel=1e-5) for column in again} == again
            assert len(row["token_losses_A_direct"]) == row["n_tokens_A"]  # this tokenizer adds a BOS


def test_aligned_spans_score_the_same_tokens_on_both_sides(script, flags, tmp_path):
    settings = ("--limit", "3", "--span", "aligned", "--keep_token_losses", "true")
    done = script("score.py", *flags, *settings, "--output_dir", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    for part in load_from_disk(tmp_path / "s").values():
        for row in part:
            lengths = {key: len(row[f"token_losses_{key}"]) for key in LOSS_KEYS}
            assert lengths["A_direct"] == lengths["A_condition"] == row["n_tokens_A"]
            assert lengths["Q_direct"] == lengths["Q_condition"] == row["n_tokens_Q"]


def test_provenance_counts_what_the_span_decides(small_run, quickstart):
    """Held against a count by hand: joint tokens are not those of context and response apart."""
    from transformers import AutoTokenizer

    from scoring.templates import get_template, reverse_prompt

    record = json.loads((small_run / "score/provenance.json").read_text())[-1]
    assert record["config"]["span"] == "published"
    assert record["counts"]["layout"] == "packed"
    tokenizer, template = AutoTokenizer.from_pretrained(quickstart / "student"), get_template("vicuna")
    n_bos = len(tokenizer("")["input_ids"])
    for name, rows in load_from_disk(small_run / "score").items():
        merged = 0
        for row in rows:
            pairs = [
                (template.prompt(row["instruction"], row["input"]), row["output"]),
                (reverse_prompt(template, row["output"]), row["instruction"] + row["input"]),
            ]
            merged += any(
                tokenizer(context + target)["input_ids"]
                != tokenizer(context)["input_ids"] + tokenizer(target)["input_ids"][n_bos:]
                for context, target in pairs
            )
        assert record["counts"]["boundary_merged"][name] == merged
        assert record["counts"]["depends_on_span"][name] == merged


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (("--span", "exact"), "--span 'exact' is unknown; the spans are published, aligned"),
        (("--max_length", "4096"), "--max_length 4096: the model has only 2048 positions; pass --max_length 2048"),
        (("--max_batch_tokens", "0"), "--max_batch_tokens 0: must be at least 1"),
    ],
)
def test_a_wrong_setting_is_one_line(script, flags, setting, message, tmp_path):
    done = script("score.py", *flags, "--output_dir", tmp_path / "s", *setting)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1


def test_plain_data_is_scored_as_the_one_variant_original(script, quickstart, tmp_path):
    data = quickstart / "data/rows.jsonl"
    flags = ("--dataset", data, "--limit", "2", "--model_name_or_path", quickstart / "student")
    done = script("score.py", *flags, "--template", "alpaca", "--output_dir", tmp_path / "s")
    assert done.returncode == 0, done.stderr
    scored = load_from_disk(tmp_path / "s")
    assert list(scored) == ["original"] and scored["original"].num_rows == 2
    assert scored["original"]["source_id"][:] == ["alpaca-00173", "alpaca-00180"]
