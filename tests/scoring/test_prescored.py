"""Published statistics beside the rows they are of: every place they lie in, every way to align, what is refused."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict, Value

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord, write_records
from hub_cards.rows import parse_records
from hub_cards.schema import SCORE_COLUMNS, VARIANTS, features
from hub_cards.sources import Source
from hub_cards.storage import save_result
from scoring import prescored
from scoring.prescored import add_statistics, find_statistics
from scoring.ratios import LOSS_KEYS, loss_columns

SPLITS = ("origin", "reflect_instruction", "reflect_response", "reflect_both")
N = 5


def text_of(variant: str, numbers=range(N)) -> list[dict[str, str]]:
    return [{"instruction": f"{variant} question {n}", "input": "", "output": f"{variant} answer {n}"} for n in numbers]


def losses_of(variant: str, number: int) -> dict[str, float]:
    return {key: 1.0 + VARIANTS.index(variant) + number / 10 + place for place, key in enumerate(LOSS_KEYS)}


@pytest.fixture
def variants() -> DatasetDict:
    ids = [f"row-{n}" for n in range(N)]
    loaded = DatasetDict()
    for name in VARIANTS:
        rows = parse_records(text_of(name), "d").dataset.remove_columns(["row_id", "variant"])
        loaded[name] = rows.add_column("row_id", ids).add_column("variant", [name] * N)
    return loaded


def write_published(folder: Path, splits=SPLITS, rows: int = N, swap: bool = False) -> str:
    """The layout of the published sets: one struct column, the lists in the seeds' order."""
    (folder / "data").mkdir(parents=True)
    for split in splits:
        name = "original" if split == "origin" else split
        records = []
        for number in range(rows):
            losses = list(losses_of(name, number).values())
            ppls = [math.exp(loss) for loss in losses]
            records.append({"loss": ppls, "ppl": losses} if swap else {"loss": losses, "ppl": ppls})
        pq.write_table(
            pa.Table.from_pylist([{"data": r} for r in records]), folder / f"data/{split}-00000-of-00001-abc.parquet"
        )
    return str(folder)


def own_scores(ids: list[str], variant: str = "original") -> Dataset:
    numbers = [loss_columns(losses_of(variant, int(one.split("-")[1]))) for one in ids]
    columns = {name: [row[name] for row in numbers] for name in numbers[0]}
    columns |= {"n_tokens_Q": [3] * len(ids), "n_tokens_A": [4] * len(ids), "score_status": ["ok"] * len(ids)}
    kinds = features(SCORE_COLUMNS)
    return Dataset.from_dict({"row_id": ids, **columns}, features=type(kinds)({"row_id": Value("string"), **kinds}))


def assert_right(added: DatasetDict):
    for name, rows in added.items():
        for number in range(len(rows)):
            expected = loss_columns(losses_of(name, number))
            assert {key: rows[number][key] for key in expected} == pytest.approx(expected)


def refusal(*args, **kwargs) -> str:
    with pytest.raises(BadInputError) as caught:
        add_statistics(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def score_record(fingerprint: str = "text-1") -> StepRecord:
    return StepRecord("score", 1, {"template": "vicuna"}, {"dataset": Source("file", "texts.json", fingerprint)})


class TestByPosition:
    def test_the_published_layout(self, variants, tmp_path):
        added, notes = add_statistics(variants, find_statistics(write_published(tmp_path / "s")))
        assert_right(added)
        assert list(added) == list(VARIANTS)
        assert notes["original"] == {
            "aligned_by": "position",
            "rows": N,
            "missing_lists": 0,
            "zeros_as_null": 0,
            "warnings": [notes["original"]["warnings"][0]],  # these losses are made up
        }
        for name, rows in added.items():
            texts = rows.select_columns(variants[name].column_names)
            assert texts.to_list() == variants[name].to_list()
            assert rows.features["ifd_ppl"] == Value("float64")

    def test_json_lines_a_split(self, variants, tmp_path):
        for split, name in zip(SPLITS, VARIANTS, strict=True):
            lists = [{"loss": list(losses_of(name, number).values())} for number in range(N)]
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in lists))
        assert_right(add_statistics(variants, find_statistics(str(tmp_path)))[0])

    def test_one_file_is_of_the_original(self, variants, tmp_path):
        write_published(tmp_path / "s", ["origin"])
        (path,) = (tmp_path / "s/data").iterdir()
        only = DatasetDict(original=variants["original"])
        added, _ = add_statistics(only, find_statistics(str(path)))
        assert_right(added)

    def test_fewer_variants_than_the_statistics_have(self, variants, tmp_path):
        some = DatasetDict({name: variants[name] for name in ("original", "reflect_both")})
        added, _ = add_statistics(some, find_statistics(write_published(tmp_path / "s")))
        assert list(added) == ["original", "reflect_both"]
        assert_right(added)

    def test_a_variant_that_the_statistics_lack(self, variants, tmp_path):
        source = find_statistics(write_published(tmp_path / "s", SPLITS[:2]))
        message = refusal(variants, source)
        assert "has no reflect_response, reflect_both; it has original, reflect_instruction." in message

    def test_another_number_of_rows(self, variants, tmp_path):
        message = refusal(variants, find_statistics(write_published(tmp_path / "s", rows=N + 1)))
        assert "(original): has 6 rows and the data 5;" in message and "--limit" in message

    def test_loss_and_ppl_that_changed_places(self, variants, tmp_path):
        message = refusal(variants, find_statistics(write_published(tmp_path / "s", swap=True)))
        assert "ppl_Q_direct is exp(loss_Q_direct) in only 0% of the rows" in message

    def test_only_the_columns_wanted_and_old_ones_replaced(self, variants, tmp_path):
        variants["original"] = variants["original"].add_column("ifd_ppl", [9.0] * N)
        source = find_statistics(write_published(tmp_path / "s"))
        added, _ = add_statistics(variants, source, ["ifd_ppl", "embedding", "output"])
        assert added["original"].column_names == [*variants["reflect_both"].column_names, "ifd_ppl"]
        assert added["original"]["ifd_ppl"][:] == pytest.approx([math.exp(2)] * N)
        none, _ = add_statistics(variants, source, ["embedding"])
        assert none["original"].column_names == variants["reflect_both"].column_names

    def test_scores_of_the_data_itself_are_never_mixed_with_them(self, variants, tmp_path):
        source = find_statistics(write_published(tmp_path))
        own = DatasetDict({n: rows.add_column("n_tokens_A", [9] * N) for n, rows in variants.items()})
        added, _ = add_statistics(own, source, ["ifd_ppl"])
        assert "n_tokens_A" not in added["original"].column_names
        assert {"instruction", "output", "row_id", "variant", "ifd_ppl"} <= set(added["original"].column_names)

    def test_statistics_whose_record_names_another_text(self, variants, tmp_path):
        folder = write_published(tmp_path / "s")
        write_records(Path(folder), [score_record()])
        source = find_statistics(folder)
        text = Source("file", "mine.json", "text-1")
        assert_right(add_statistics(variants, source, text=text)[0])
        message = refusal(variants, source, text=replace(text, fingerprint="text-2"))
        assert "was made of texts.json in another revision than mine.json" in message

    def test_odd_medians_are_a_warning(self, variants, tmp_path):
        _, notes = add_statistics(variants, find_statistics(write_published(tmp_path / "s")))
        assert "the median ppl of the responses with their instruction is" in notes["original"]["warnings"][0]
        (tmp_path / "d.jsonl").write_text(N * (json.dumps({"loss": [1.0, 2.0, 1.0, 1.5]}) + "\n"))
        only = DatasetDict(original=variants["original"])
        _, notes = add_statistics(only, find_statistics(str(tmp_path / "d.jsonl")))
        assert notes["original"]["warnings"] == []

    def test_shifted_statistics_are_refused(self, root, tmp_path):
        """Real texts and losses; see test_alignment.py for all that it takes."""
        path = root / "recipes/quickstart/data/student_rows.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:400]]
        losses = json.loads((Path(__file__).parent / "student_losses.json").read_text())
        only = DatasetDict(original=parse_records(rows, "d").dataset)
        for shift in (0, 1):
            pairs = [np.roll(np.array(losses[f"loss_{key}_direct"], float), shift) for key in "QA"]
            lines = [json.dumps({"loss": [q, a, q, a]}) for q, a in zip(*pairs, strict=True)]
            (tmp_path / f"{shift}.jsonl").write_text("\n".join(lines))
        _, notes = add_statistics(only, find_statistics(str(tmp_path / "0.jsonl")))
        assert notes["original"]["alignment_z"] > 8
        assert "not of these rows in this order" in refusal(only, find_statistics(str(tmp_path / "1.jsonl")))


class TestByText:
    def test_rows_are_found_by_what_they_say(self, tmp_path):
        texts = text_of("original")
        records = [
            {**texts[number], **{f"ppl_{key}": math.exp(loss) for key, loss in losses_of("original", number).items()}}
            for number in (3, 0, 2)
        ]
        (tmp_path / "d.json").write_text(json.dumps([*records, {**records[0], "output": "of no row"}]))
        rows = DatasetDict(original=parse_records(texts, "d").dataset)
        added, notes = add_statistics(rows, find_statistics(str(tmp_path / "d.json")))
        expected = [loss_columns(losses_of("original", n))["ifd_loss"] if n in (0, 2, 3) else None for n in range(N)]
        assert added["original"]["ifd_loss"][:] == [v if v is None else pytest.approx(v) for v in expected]
        assert notes["original"]["aligned_by"] == "text"
        assert (notes["original"]["rows_without_statistics"], notes["original"]["statistics_not_used"]) == (2, 1)

    def test_other_variants_by_their_own_texts(self, variants, tmp_path):
        """There `row_id` is that of the original row."""
        for name in ("original", "reflect_both"):
            texts = text_of(name)
            texts += [{**text, "output": "again"} for text in texts[:1]]
            records = [{**text, "ppl_A_direct": 2.0 + number} for number, text in enumerate(texts)]
            (tmp_path / f"{name}.json").write_text(json.dumps(records[::-1]))
        rows = parse_records(text_of("original"), "d").dataset
        both = DatasetDict(
            original=rows,
            reflect_both=variants["reflect_both"].remove_columns("row_id").add_column("row_id", rows["row_id"][:]),
        )
        added, _ = add_statistics(both, find_statistics(str(tmp_path)))
        for part in added.values():
            assert part["ppl_A_direct"][:] == [2.0, 3.0, 4.0, 5.0, 6.0]

    def test_texts_of_other_rows(self, variants, tmp_path):
        (tmp_path / "d.json").write_text(json.dumps([{"instruction": "x", "output": "y", "ppl_A_direct": 2.0}]))
        message = refusal(DatasetDict(original=variants["original"]), find_statistics(str(tmp_path / "d.json")))
        assert "is of other rows: none of the 5 rows of the data is among its 1 (compared by text)" in message


class TestByRowId:
    @pytest.mark.parametrize("kind", ["saved", "published"])
    def test_rows_in_another_order_missing_and_more(self, kind, variants, tmp_path):
        ids = ["row-4", "row-7", "row-0", "row-2", "row-3"]
        parts = DatasetDict({name: own_scores(ids, name) for name in ("original", "reflect_both")})
        if kind == "saved":
            save_result(tmp_path / "s", parts, [score_record()])
        else:
            for name, rows in parts.items():
                (tmp_path / "s" / name).mkdir(parents=True)
                rows.to_parquet(tmp_path / "s" / name / "train-00000-of-00001-0123456789abcdef.parquet")
            write_records(tmp_path / "s", [score_record()])
        some = DatasetDict({name: variants[name] for name in parts})
        added, notes = add_statistics(some, find_statistics(str(tmp_path / "s")))
        for name in parts:
            assert added[name]["row_id"][:] == [f"row-{n}" for n in range(N)]
            assert added[name][1]["ifd_ppl"] is None and added[name][1]["score_status"] is None
            assert_right(DatasetDict({name: added[name].select([0])}))
            assert added[name][4]["loss_A_direct"] == pytest.approx(losses_of(name, 4)["A_direct"])
            assert added[name].features["n_tokens_A"] == Value("int64")
            assert (notes[name]["rows_without_statistics"], notes[name]["statistics_not_used"]) == (1, 1)

    def test_no_common_row(self, variants, tmp_path):
        save_result(tmp_path / "s", DatasetDict(original=own_scores(["row-8"])), [score_record()])
        message = refusal(DatasetDict(original=variants["original"]), find_statistics(str(tmp_path / "s")))
        assert "is of other rows: none of the 5 rows" in message

    def test_repeated_ids(self, variants, tmp_path):
        save_result(tmp_path / "s", DatasetDict(original=own_scores(["row-1", "row-1"])), [score_record()])
        message = refusal(DatasetDict(original=variants["original"]), find_statistics(str(tmp_path / "s")))
        assert "repeats a row_id: 2 rows, 1 different ids" in message


class TestFindStatistics:
    def test_names_its_own_flag(self):
        with pytest.raises(BadInputError, match=r"^--statistics ./nothing: there is no such file or folder"):
            find_statistics("./nothing")

    def test_of_the_hub_is_a_snapshot_of_one_commit(self, variants, tmp_path, monkeypatch):
        """The cache as huggingface_hub lays it out; the tests have no network."""
        commit = "0123456789abcdef0123456789abcdef01234567"
        repo = tmp_path / "datasets--user--stats"
        write_published(repo / "snapshots" / commit)
        (repo / "snapshots" / commit / "README.md").write_text("---\n---\n")
        (repo / "refs").mkdir()
        (repo / "refs/main").write_text(commit)
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        source = Source("hub", "user/stats", f"user/stats@{commit}", commit)
        assert_right(add_statistics(variants, source)[0])


def test_the_result_is_known_by_what_it_was_made_of(variants, tmp_path):
    """`datasets` caches by fingerprint: other statistics must give another one."""
    save_result(tmp_path / "a", DatasetDict(original=own_scores(["row-1"])), [score_record("1")])
    save_result(tmp_path / "b", DatasetDict(original=own_scores(["row-2"])), [score_record("2")])
    only = DatasetDict(original=variants["original"])
    made = [add_statistics(only, find_statistics(str(tmp_path / name)))[0]["original"]._fingerprint for name in "aab"]
    assert made[0] == made[1] != made[2]


def test_needs_no_torch():
    code = f"import sys; import {prescored.__name__}; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"
