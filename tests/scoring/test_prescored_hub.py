"""Published statistics on the Hub: our layout and the seeds', what is fetched of them, and the same offline."""

import io
import json
import subprocess
import sys
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import DatasetDict, load_from_disk

from hub_cards.errors import BadInputError
from hub_cards.provenance import read_records
from hub_cards.rows import DataArguments, load_variants
from hub_cards.schema import VARIANTS
from scoring.config import SelectConfig
from scoring.prescored import add_statistics, find_statistics
from scoring.ratios import LOSS_KEYS, loss_columns
from scoring.selection.load import load_scored

ROWS = 1500
SPLITS = ("origin", "reflect_instruction", "reflect_response", "reflect_both")


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def losses(variant: str) -> np.ndarray:
    """Of each row in the order of `LOSS_KEYS`; without its instruction a response is less likely."""
    draw = np.random.default_rng(VARIANTS.index(variant))
    return draw.uniform([2, 2, 1, 1], [3, 3, 2, 2], (ROWS, len(LOSS_KEYS)))


@cache
def ours(variants=VARIANTS) -> dict[str, bytes]:
    """As we publish: a config a variant, rows in another order than the data's; token losses beside them."""
    files = {"README.md": "x", "provenance.json": "[]", "token_losses/train-00000-of-00001-00.parquet": bytes(10)}
    for name in variants:
        rows = [loss_columns(dict(zip(LOSS_KEYS, row, strict=True))) for row in losses(name)]
        columns = {"row_id": [f"id-{n}" for n in range(ROWS)], **{key: [row[key] for row in rows] for key in rows[0]}}
        columns |= {"n_tokens_A": list(range(ROWS)), "score_status": ["ok"] * ROWS}
        files[f"{name}/train-00000-of-00001-0123456789abcdef.parquet"] = parquet(pa.table(columns)[::-1])
    return files


@cache
def seeds() -> dict[str, bytes]:
    """As the seeds published: a split a variant, one struct column of lists, no ids."""
    files = {}
    for split, name in zip(SPLITS, VARIANTS, strict=True):
        records = [{"data": {"loss": list(row), "ppl": list(np.exp(row))}} for row in losses(name)]
        files[f"data/{split}-00000-of-00001.parquet"] = parquet(pa.Table.from_pylist(records))
    return files


def spelled(loss: float, number: int) -> str:
    """A text whose spelling is as odd as its loss is high: what is aligned by position is checked."""
    rare = round((loss - 2) * 20)
    return " ".join([*["qzxj"] * rare, *["there"] * (20 - rare), str(number)])


@cache
def texts(with_ids: bool) -> dict[str, bytes]:
    files = {}
    for split, name in zip(SPLITS, VARIANTS, strict=True):
        questions, answers = ([spelled(row[place], n) for n, row in enumerate(losses(name))] for place in (0, 1))
        columns = {"instruction": questions, "input": [""] * ROWS, "output": answers}
        if with_ids:
            table = pa.table({"row_id": [f"id-{n}" for n in range(ROWS)], **columns})
            files[f"{name}/train-00000-of-00001.parquet"] = parquet(table)
        else:
            table = pa.table({"data": pa.Table.from_pydict(columns).to_struct_array()})
            files[f"data/{split}-00000-of-00001.parquet"] = parquet(table)
    return files


def joined(columns=("ifd_ppl", "rifd_ppl"), **options) -> DatasetDict:
    variants = load_variants(DataArguments("tester/texts", **options))
    return add_statistics(variants, find_statistics("tester/scores"), columns)[0]


def assert_right(added: DatasetDict, variants=VARIANTS):
    assert list(added) == list(variants)
    for name, rows in added.items():
        of = dict(zip(LOSS_KEYS, losses(name).T, strict=True))
        np.testing.assert_allclose(rows["ifd_ppl"][:], np.exp(of["A_condition"] - of["A_direct"]), rtol=1e-12)
        np.testing.assert_allclose(rows["rifd_ppl"][:], np.exp(of["Q_condition"] - of["Q_direct"]), rtol=1e-12)


def moved(hub) -> int:
    return sum(one["sent"] for one in hub.requests("GET", "datasets/tester/scores/.*parquet", server="storage"))


@pytest.fixture
def published(hub) -> str:
    hub.put("dataset", "tester/texts", texts(with_ids=True))
    return hub.put("dataset", "tester/scores", ours())


class TestOurs:
    def test_only_the_columns_that_are_needed(self, hub, published, capsys):
        assert_right(joined())
        files = {path: content for path, content in ours().items() if path.startswith(VARIANTS)}
        size = sum(map(len, files.values()))
        assert moved(hub) < size / 1.8  # most of it are the ends of the files
        assert capsys.readouterr().out == (
            f"[select] read 3 of 15 columns of tester/scores at {published[:7]}: {moved(hub) / 1e6:.2f} MB of "
            f"{size / 1e6:.2f} MB moved\n"
        )
        assert not hub.requests("HEAD|GET", "datasets/tester/scores/.*token_losses")

    @pytest.mark.usefixtures("published")
    def test_only_the_variants_that_are_needed(self, hub):
        assert_right(joined(dataset_config="reflect_both"), ["reflect_both"])
        paths = {
            one["path"].split("/resolve/")[1].split("/")[1] for one in hub.requests("GET", "tester/scores/resolve")
        }
        assert paths == {"reflect_both"}

    def test_the_second_time_and_offline(self, hub, published, capsys):
        first = joined()
        hub.clear()
        capsys.readouterr()
        assert joined()["original"].to_list() == first["original"].to_list()
        assert moved(hub) == 0
        hub.go_offline()
        assert find_statistics("tester/scores").revision == published
        offline = joined()
        assert_right(offline)
        assert {name: rows._fingerprint for name, rows in offline.items()} == {
            name: rows._fingerprint for name, rows in first.items()
        }
        assert capsys.readouterr().out.count(": 0.00 MB of ") == 2

    def test_columns_of_the_commit_that_was_resolved(self, hub, published):
        source = find_statistics("tester/scores")
        hub.put("dataset", "tester/scores", dict.fromkeys(ours(), b"another"))
        variants = load_variants(DataArguments("tester/texts"))
        added, _ = add_statistics(variants, source, ["ifd_ppl", "rifd_ppl"])
        assert_right(added)
        assert source.revision == published

    @pytest.mark.usefixtures("published")
    def test_columns_that_contradict_each_other_are_seen_where_they_are_read(self, hub):
        rows = losses("original")
        lie = {"row_id": [f"id-{n}" for n in range(ROWS)], "loss_A_direct": rows[:, 1], "ppl_A_direct": rows[:, 1]}
        hub.put(
            "dataset",
            "tester/scores",
            {"original/train-00000-of-00001-0123456789abcdef.parquet": parquet(pa.table(lie))},
        )
        with pytest.raises(BadInputError, match=r"ppl_A_direct is exp\(loss_A_direct\) in only 0% of the rows"):
            joined(["loss_A_direct", "ppl_A_direct"], dataset_config="original")


class TestSeeds:
    def test_the_one_column_is_all_there_is(self, hub, capsys):
        hub.put("dataset", "tester/texts", texts(with_ids=False))
        commit = hub.put("dataset", "tester/scores", seeds())
        assert_right(joined())
        size = sum(map(len, seeds().values()))
        assert size <= moved(hub) <= size + len(SPLITS) * 2**16
        line = f"read 1 of 1 columns of tester/scores at {commit[:7]}: {moved(hub) / 1e6:.2f} MB of {size / 1e6:.2f} MB"
        assert capsys.readouterr().out == f"[select] {line} moved\n"
        hub.go_offline()
        assert_right(joined())

    def test_json_lines(self, hub, capsys):
        hub.put("dataset", "tester/texts", texts(with_ids=False))
        lines = "".join(json.dumps({"loss": list(row)}) + "\n" for row in losses("original"))
        commit = hub.put("dataset", "tester/scores", {"origin.jsonl": lines})
        added = joined(["ppl_A_direct"], dataset_config="original")
        np.testing.assert_allclose(added["original"]["ppl_A_direct"][:], np.exp(losses("original")[:, 1]))
        size = f"{len(lines) / 1e6:.2f} MB"
        assert (
            capsys.readouterr().out == f"[select] read all of tester/scores at {commit[:7]}: {size} of {size} moved\n"
        )


@pytest.mark.usefixtures("published")
def test_what_is_not_there(hub):
    with pytest.raises(BadInputError, match=r"^--statistics tester/none \(no such local path\): there is no such"):
        find_statistics("tester/none")
    hub.put("dataset", "tester/empty", {"README.md": "x"})
    hub.put("dataset", "tester/scores-2", ours(("reflect_both",)))
    variants = load_variants(DataArguments("tester/texts", dataset_config="original"))
    with pytest.raises(BadInputError, match=r"^--statistics tester/empty: holds no \.json, \.jsonl, \.parquet files$"):
        add_statistics(variants, find_statistics("tester/empty"))
    with pytest.raises(BadInputError, match="has no original; it has reflect_both"):
        add_statistics(variants, find_statistics("tester/scores-2"))


def test_a_selection_offline_in_a_process_of_its_own(hub, published, root, tmp_path):
    settings = {"dataset": "tester/texts", "statistics": "tester/scores", "dataset_config": "original", "count": 5}
    online = SelectConfig(**settings, strategy=["cherry"])
    record = online.planned_record()
    load_scored(online, online.steps())
    assert record.inputs["statistics"].revision == published
    hub.go_offline()
    hub.clear()
    flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "recipes/select_rows.py",
        *flags,
        "--strategy",
        "cherry",
        "--output_dir",
        str(tmp_path / "a"),
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert f"[select] read 3 of 15 columns of tester/scores at {published[:7]}: 0.00 MB" in done.stdout
    assert hub.requests() == []
    made = read_records(tmp_path / "a")[-1]
    assert (made.fingerprint, made.inputs) == (record.fingerprint, record.inputs)
    assert len(load_from_disk(tmp_path / "a")["selected"]) == 5
