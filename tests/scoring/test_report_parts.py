"""What a report shows of scores, and the script over all of it: from real selections of made-up scores."""

import base64
import errno
import gzip
import json
import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict
from scipy.stats import spearmanr

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.report.run import Run, load_run
from hub_cards.rows import DataArguments, row_ids
from hub_cards.schema import VARIANTS
from hub_cards.sources import Source
from hub_cards.storage import locked, save_result
from hub_cards.tables import as_text
from hub_cards.texts import texts_of_records
from scoring import report_parts
from scoring.config import SelectConfig
from scoring.report import describe_set, tables
from scoring.report_parts import compared, selected_from, statistics_of, tokens_of
from scoring.selection.apply import select_rows
from scoring.selection.compare import as_tables, compare
from scoring.selection.load import load_scored
from scoring.selection.table import ScoreTable

ROWS = 24
SCORES = ("ifd_ppl", "rifd_ppl")
PLACES = np.arange(ROWS)


def scored(seed: int = 0, order: np.ndarray = PLACES, losses: bool = False) -> DatasetDict:
    """All variants of the same rows, in this order."""
    numbers = np.random.default_rng(seed)
    texts = [{"instruction": f"question {row}", "output": f"answer {row}"} for row in range(ROWS)]
    found = DatasetDict()
    for name in VARIANTS:
        columns = {
            "row_id": row_ids(texts_of_records("alpaca", texts)),
            "instruction": [f"{name} question {row}" for row in range(ROWS)],
            "input": [""] * ROWS,
            "output": [f"{name} answer {row}" for row in range(ROWS)],
            "variant": [name] * ROWS,
            "reflect_status": [None if name == "original" else "ok"] * ROWS,
            "n_tokens_A": numbers.integers(1, 99, ROWS).tolist(),
            **{column: np.round(numbers.uniform(0.5, 1.2, ROWS), 3).tolist() for column in SCORES},
        }
        columns["ifd_ppl"][3] = None
        if losses:
            columns |= {f"token_losses_A_{side}": [[0.5]] * ROWS for side in ("direct", "condition")}
        found[name] = Dataset.from_dict(columns).select(order)
    return found


def score_record(place: Path) -> StepRecord:
    config = {"limit": None, "template": "vicuna", "max_length": 512, "span": "published", "dtype": "float32"}
    model = Source("folder", str(place / "student"), "f-model")
    data = Source("file", str(place / "rows.jsonl"), "f-rows")
    counts = {"score_status": {}, "statistics": {name: {"rows": ROWS} for name in VARIANTS}}
    return StepRecord("score", 1, config, {"dataset": data, "model": model}).finished(counts, 1)


def select(folder: Path, dataset: Path, *strategy: str, statistics: Path | None = None) -> Path:
    """As select_rows.py does it."""
    config = SelectConfig(
        dataset=str(dataset),
        strategy=list(strategy or ["selective require_reflected_response=false"]),
        statistics=statistics and str(statistics),
        output_dir=str(folder),
    )
    steps = config.steps()
    variants, joined = load_scored(config, steps)
    result, counts = select_rows(ScoreTable(variants), steps)
    earlier = [score_record(dataset.parent)] if statistics is None else []
    save_result(folder, result, [*earlier, config.planned_record().finished({**counts, "joined": joined}, 1)])
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A run, another selection from it, and another student's run of the same rows in another order."""
    place = tmp_path_factory.mktemp("runs")
    shuffled = np.random.default_rng(9).permutation(ROWS)
    for name, variants in (("one", scored(losses=True)), ("two", scored(seed=1, order=shuffled))):
        save_result(place / name / "score", variants, [score_record(place)])
        select(place / name / "select", place / name / "score")
    select(place / "random", place / "one/score", "random count=9 seed=1")
    return place


def load(dataset: Path, **settings) -> Run:
    return load_run(DataArguments(str(dataset), **settings), None, selected_from)


class TestSelectedFrom:
    def test_of_a_selection_by_itself_the_rows_with_all_their_scores(self, runs):
        run, whole = load(runs / "one/select"), load(runs / "one")
        assert {name: rows[:] for name, rows in run.variants.items()} == {n: r[:] for n, r in whole.variants.items()}

    def test_published_scores_stand_beside_the_rows(self, tmp_path):
        variants = scored()
        records = [{key: row[key] for key in ("instruction", "output")} for row in variants["original"]]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        numbers = {"row_id": row_ids(texts_of_records("alpaca", records)), "ifd_ppl": variants["original"]["ifd_ppl"]}
        Dataset.from_dict(numbers).select(range(ROWS - 1, -1, -1)).to_parquet(tmp_path / "numbers.parquet")
        statistics = tmp_path / "numbers.parquet"
        run = load(
            select(tmp_path / "run/select", tmp_path / "rows.jsonl", "superfilter count=5", statistics=statistics)
        )
        assert list(run.variants) == ["original"]
        assert run.variants["original"]["ifd_ppl"][:] == variants["original"]["ifd_ppl"][:]
        assert load(tmp_path / "run").variants["original"]["ifd_ppl"][:] == variants["original"]["ifd_ppl"][:]
        assert statistics_of(run)[0].table[0] == ["mean over the rows", "original", "selected", "dropped"]
        assert len(load(tmp_path / "run/select", limit=4).variants["original"]) == 4

    def test_what_it_was_made_from_has_changed(self, tmp_path):
        save_result(tmp_path / "score", scored(), [score_record(tmp_path)])
        folder = select(tmp_path / "select", tmp_path / "score")
        changed = score_record(tmp_path)
        save_result(tmp_path / "score", scored(), [StepRecord("score", 1, {"other": 1}, changed.inputs)])
        with pytest.raises(
            BadInputError, match=r"score is not what the selection was made from: it was changed since$"
        ):
            load(folder)


class TestStatistics:
    def test_are_those_of_the_report_on_a_set(self, runs):
        run = load(runs / "one")
        means, quartiles = statistics_of(run)
        description = describe_set(run.variants, run.decisions)
        assert (means.table, quartiles.table) == tables(description.statistics, description.counts["rows"])
        assert means.table[0] == ["mean over the rows", *VARIANTS, "selected", "dropped"] and quartiles.folded
        ifd = np.array(run.variants["original"]["ifd_ppl"], dtype=float)
        (line,) = (line for line in means.table if line[0] == "IFD")
        assert line[1] == f"{np.nanmean(ifd):.3f}"

    def test_of_some_rows_only_these_are_counted(self, runs):
        (_, counts, *_), *_ = (shown.table for shown in statistics_of(load(runs / "one", limit=10)))
        assert counts[:5] == ["rows", "10", "10", "10", "10"]
        assert sum(map(int, counts[5:])) == 10

    def test_of_one_variant_kept_and_dropped_rows_are_not_told_apart(self, runs):
        means = statistics_of(load(runs / "one", dataset_config="reflect_both"))[0].table
        assert means[0] == ["mean over the rows", "reflect_both"]

    def test_nothing_was_scored(self, runs):
        run = load(runs / "one")
        plain = DatasetDict({name: rows.select_columns(["row_id", "output"]) for name, rows in run.variants.items()})
        assert statistics_of(Run("x", plain, run.decisions, [], run.row_ids)) == []


class TestCompared:
    def test_two_selections(self, runs):
        one, other = load(runs / "one"), load(runs / "random")
        both, *others = compared(one, other)
        expected = as_tables(compare(one.decisions, other.decisions), ("the first", "the other"))
        assert [shown.table for shown in (both, *others)][: len(expected)] == expected
        kept = [{row["row_id"] for row in run.decisions if row["selected"]} for run in (one, other)]
        assert both.table[2] == [
            "kept, of the rows in both",
            *map(str, (len(kept[0] & kept[1]), len(kept[0] - kept[1]), len(kept[1] - kept[0]))),
        ]

    def test_two_students_order_the_rows_as_scipy_finds(self, runs):
        one, other = load(runs / "one"), load(runs / "two")
        found = compared(one, other)[-1]
        assert found.title == "Do both students order the rows alike?"
        by_name = {line[0]: line[1:] for line in found.table[1:]}
        assert set(by_name) >= {f"{label}, {name}" for label in ("IFD", "r-IFD") for name in VARIANTS}
        ids = one.row_ids.to_pylist()
        for name in VARIANTS:
            sides = [
                dict(zip(run.variants[name]["row_id"], run.variants[name]["ifd_ppl"], strict=True))
                for run in (one, other)
            ]
            pairs = [(sides[0][i], sides[1][i]) for i in ids if None not in (sides[0][i], sides[1][i])]
            assert str(len(pairs)) in by_name[f"IFD, {name}"]
            rho = spearmanr(*zip(*pairs, strict=True)).statistic
            assert any(cell == f"{rho:.3f}" for cell in by_name[f"IFD, {name}"]), as_text(found.table)

    def test_of_the_same_scores_it_says_so_in_a_line(self, runs):
        found = compared(load(runs / "one"), load(runs / "one"))[-1]
        assert (found.title, found.table) == ("The scores", None)

    def test_a_student_without_a_selection(self, runs):
        assert [shown.title for shown in compared(load(runs / "one"), load(runs / "two/score"))] == [
            "Do both students order the rows alike?"
        ]

    def test_other_rows(self, runs, tmp_path):
        (tmp_path / "other.jsonl").write_text('{"instruction": "none of them", "output": "x"}\n')
        message = "^--compare other.jsonl: has no row_id of --dataset; compare results of the same rows$"
        with pytest.raises(BadInputError, match=message):
            compared(load(runs / "one"), load(tmp_path / "other.jsonl"))


class TestTokens:
    def test_in_the_order_of_the_rows_whatever_that_of_the_variant(self, monkeypatch, tmp_path):
        variants = scored(losses=True)
        shuffled = np.random.default_rng(3).permutation(ROWS)[:-2]  # and two are missing
        variants["reflect_both"] = variants["reflect_both"].select(shuffled)
        variants["original"] = variants["original"].remove_columns("token_losses_A_direct")
        asked = []

        def response_tokens(tokenizer, rows, *settings):
            asked.append((tokenizer, *settings))
            yield from ([(text, None, 1.0)] for text in rows["output"])

        monkeypatch.setattr(report_parts, "load_tokenizer", lambda record: record.inputs["model"].fingerprint)
        monkeypatch.setattr(report_parts, "response_tokens", response_tokens)
        ids = load_ids(variants)
        tokens, why = tokens_of(Run("x", variants, None, [score_record(tmp_path)], ids))
        assert why == "" and list(tokens) == list(VARIANTS[1:])
        found = {name: list(stream) for name, stream in tokens.items()}
        assert found["reflect_response"] == [[(f"reflect_response answer {row}", None, 1.0)] for row in range(ROWS)]
        there = set(shuffled.tolist())
        assert found["reflect_both"] == [
            [(f"reflect_both answer {row}", None, 1.0)] if row in there else None for row in range(ROWS)
        ]
        assert set(asked) == {("f-model", "vicuna", 512, "published")}

    def test_why_there_are_none(self, runs):
        run = load(runs / "two")
        assert tokens_of(run) == ({}, report_parts.NOT_KEPT)
        kept = load(runs / "one")
        assert "no record says which tokenizer" in tokens_of(Run("x", kept.variants, None, [], kept.row_ids))[1]

    def test_the_student_is_gone(self, runs):
        tokens, why = tokens_of(load(runs / "one"))
        assert tokens == {} and why.endswith("the tokenizer of the student cannot be loaded here.")


def load_ids(variants: DatasetDict):
    return variants["reflect_response"].with_format("arrow")[:]["row_id"]


@pytest.fixture
def report(root, monkeypatch, capsys, tmp_path):
    """Run the script; its exit code, what it said, and the page."""

    def run(dataset: Path, *flags, output: Path | str = tmp_path / "report.html"):
        command = [str(root / "recipes/report.py"), "--dataset", str(dataset), "--output", str(output)]
        monkeypatch.setattr(sys, "argv", [*command, *map(str, flags)])
        code = 0
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out + err, Path(output)

    return run


def decoded(page: Path) -> str:
    """All that a page says, packed or not."""
    text = page.read_text(encoding="utf-8")
    packed = re.findall(r'<script type="text/plain" id="[a-z]+-\d+">([^<]*)</script>', text)
    assert packed
    return text + "".join(gzip.decompress(base64.b64decode(one)).decode("utf-8", "replace") for one in packed)


class TestScript:
    def test_a_page_is_made_once_and_replaced_when_the_run_has_changed(self, report, runs):
        code, said, page = report(runs / "one", "--compare", runs / "two")
        assert code == 0 and re.fullmatch(rf"\[report\] 24 rows in {page}, [\d.]+ MB: open it in a browser\n", said)
        before = page.stat().st_mtime_ns, page.stat().st_ino
        assert report(runs / "one", "--compare", runs / "two")[:2] == (0, f"[report] up to date: {page}\n")
        assert (page.stat().st_mtime_ns, page.stat().st_ino) == before
        assert "up to date" not in report(runs / "one", "--compare", runs / "random")[1]
        assert page.stat().st_ino != before[1]
        assert sorted(path.name for path in page.parent.iterdir() if path.suffix != ".lock") == ["report.html"]

    def test_says_nothing_of_where_on_this_machine_it_was_made(self, report, runs, tmp_path):
        like = f"length_matched_random like={runs / 'random'} seed=0"
        select(tmp_path / "run/select", runs / "one/score", like)
        for dataset, flags in ((runs / "one", ["--compare", tmp_path / "run/select"]), (tmp_path / "run", [])):
            code, _, page = report(dataset, *flags)
            text = decoded(page)
            assert code == 0
            assert str(runs) not in text and str(tmp_path) not in text and str(Path.home()) not in text

    def test_the_same_run_gives_the_same_page(self, report, runs, tmp_path):
        pages = [report(runs / "one", output=tmp_path / name)[2].read_bytes() for name in ("a.html", "b.html")]
        assert pages[0] == pages[1]

    def test_somebody_elses_page_is_left_alone(self, report, runs, tmp_path):
        (tmp_path / "report.html").write_text("<title>mine</title>")
        code, said, page = report(runs / "one")
        assert code == 2 and said == (
            f"error: --output {page}: exists and is no report of ours; choose another name or remove it\n"
        )
        assert page.read_text() == "<title>mine</title>"

    def test_a_place_that_cannot_be(self, report, runs, tmp_path):
        (tmp_path / "file").write_text("x")
        code, said, page = report(runs / "one", output=tmp_path / "file/report.html")
        assert code == 2 and said.startswith(f"error: --output {page}: cannot be written (")

    def test_two_at_once(self, report, runs, tmp_path):
        page = tmp_path / "report.html"
        with locked(page):
            assert report(runs / "one")[:2] == (2, f"error: --output {page}: another process is writing it right now\n")
        assert report(runs / "one")[0] == 0

    @pytest.mark.parametrize("is_there", [True, False])
    def test_a_full_disk_leaves_what_was_there(self, report, runs, tmp_path, monkeypatch, is_there):
        before = report(runs / "one")[2].read_bytes() if is_there else None

        def full(_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        code, said, page = report(runs / "two")
        assert code == 1 and said.startswith("error: the disk is full") and said.count("\n") == 1
        assert (page.read_bytes() if page.exists() else None) == before
        assert {path.name for path in tmp_path.iterdir()} <= {"report.html", ".report.html.lock"}

    @pytest.mark.parametrize("flag", ["--dataset", "--compare", "--selection"])
    @pytest.mark.parametrize("name", ["gone", "empty", "broken.jsonl"])
    def test_wrong_places_are_named_by_their_flag(self, report, runs, tmp_path, flag, name):
        (tmp_path / "empty").mkdir()
        (tmp_path / "broken.jsonl").write_text('{"instruction": 1')
        places = {"--dataset": runs / "one", flag: tmp_path / name}
        flags = [part for pair in places.items() if pair[0] != "--dataset" for part in pair]
        code, said, page = report(places["--dataset"], *flags)
        assert code == 2 and said.count("\n") == 1 and not page.exists()
        assert said.startswith((f"error: {flag} {tmp_path / name}", f"error: {tmp_path / name}"))
        assert "--dataset " not in said or flag == "--dataset"

    def test_plain_data(self, report, tmp_path):
        (tmp_path / "rows.jsonl").write_text('{"instruction": "<script>alert(1)</script>", "output": "b"}\n')
        code, _, page = report(tmp_path / "rows.jsonl")
        assert code == 0 and page.read_text().count("<script>alert") == 0
