"""Rows of Hub data sets: every layout, config, split and revision; downloaded or in place; what moves for them."""

import io
import itertools
import json
import re
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from hub_cards.errors import StoppedError
from hub_cards.rows import DataArguments, load_rows, load_variants, row_id
from hub_cards.schema import VARIANTS

SEEDS_SPLITS = ("origin", "reflect_instruction", "reflect_response", "reflect_both")
CARD = """---
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: extra
  data_files:
  - split: train
    path: extra/train-*
---
"""


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    """What `ask` waits between its tries takes no time."""
    monkeypatch.setattr("hub_cards.hub.client.time", SimpleNamespace(sleep=lambda _: None))


def texts(name: str, numbers=range(3), pad: int = 0) -> list[dict[str, str]]:
    """Records whose texts do not compress where `pad` gives them a length."""
    import random

    draw = random.Random(name)
    tail = lambda: draw.randbytes(pad // 2).hex()  # noqa: E731
    return [{"instruction": f"{name} {n} {tail()}", "input": "", "output": f"answer {n} {tail()}"} for n in numbers]


def parquet(records: list[dict], **options) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(records), sink, **options)
    return sink.getvalue()


def published(rows: int = 3, pad: int = 0) -> dict[str, bytes]:
    """As we publish: a folder a config, rows with ids in another order than the original's."""
    files = {"README.md": "x", "provenance.json": "[]", "published_files.json": "{}", "plots/ifd.png": b"\x89PNG"}
    for name in ("selected", *VARIANTS):
        records = [{"row_id": f"id-{n}", **text} for n, text in enumerate(texts(name, range(rows), pad))]
        files[f"{name}/train-00000-of-00001-0123456789abcdef.parquet"] = parquet(records[::-1])
    return files


def seeds(pad: int = 0) -> dict[str, bytes]:
    """As the seeds published: a split a variant, one struct column, rows without ids."""
    return {
        f"data/{split}-00000-of-00001-8f1c7e.parquet": parquet([{"data": text} for text in texts(split, pad=pad)])
        for split in SEEDS_SPLITS
    }


def fetched(hub) -> list[str]:
    """The files whose bytes were taken from the Hub, each once."""
    found = {one["path"].split("/resolve/")[-1].partition("/")[2] for one in hub.requests("HEAD|GET", "/resolve/")}
    return sorted(name for name in found if not name.endswith(".md"))


@pytest.fixture(params=[False, True], ids=["downloaded", "in place"])
def load(request):
    """`load_rows` or `load_variants`, in both ways."""

    def call(function, name="tester/set", **options):
        return function(DataArguments(name, streaming=request.param, **options))

    return call


class TestPublished:
    def test_every_config(self, load, hub):
        hub.put("dataset", "tester/set", published())
        for name in ("selected", *VARIANTS):
            rows = load(load_rows, dataset_config=name).dataset
            assert rows["row_id"][:] == ["id-2", "id-1", "id-0"]
            assert rows["instruction"][:] == [f"{name} {n} " for n in (2, 1, 0)]
        assert load(load_rows).dataset["instruction"][0] == "selected 2 "
        variants = load(load_variants)
        assert list(variants) == list(VARIANTS)
        assert [rows["instruction"][0] for rows in variants.values()] == [f"{name} 2 " for name in VARIANTS]

    def test_only_the_part_asked_for_moves(self, load, hub):
        hub.put("dataset", "tester/set", published())
        load(load_variants, dataset_config="reflect_both")
        assert fetched(hub) == ["reflect_both/train-00000-of-00001-0123456789abcdef.parquet"]
        hub.clear()
        load(load_rows)
        assert fetched(hub) == ["selected/train-00000-of-00001-0123456789abcdef.parquet"]

    def test_what_is_not_there(self, load, hub, complaint):
        hub.put("dataset", "tester/set", published())
        known = (
            "holds the parts original, reflect_instruction, reflect_response, reflect_both, selected; choose one with"
        )
        assert complaint(load, load_rows, dataset_config="best") == (
            f"--dataset_config best: --dataset tester/set has no part of this name; it {known} --dataset_config"
        )
        assert complaint(load, load_rows, dataset_split="test") == (
            "--dataset_split test: --dataset tester/set has of original the splits train"
        )

    def test_revision(self, load, hub):
        older = hub.put("dataset", "tester/set", published())
        hub.put("dataset", "tester/set", published(rows=5))
        assert len(load(load_rows).dataset) == 5
        assert len(load(load_rows, dataset_revision=older).dataset) == 3

    @pytest.mark.parametrize("function", [load_rows, load_variants])
    def test_the_branch_moves_while_the_stage_runs(self, function, hub):
        older = hub.put("dataset", "tester/set", published())
        arguments = DataArguments("tester/set")
        source = arguments.source()
        hub.put("dataset", "tester/set", published(rows=5))
        loaded = function(arguments)
        assert len(loaded.dataset if function is load_rows else loaded["original"]) == 3
        assert arguments.source() == source and source.revision == older


class TestSeeds:
    def test_every_split(self, load, hub):
        hub.put("dataset", "tester/set", seeds())
        variants = load(load_variants)
        ids = [row_id(f"origin {n} ", "", f"answer {n} ") for n in range(3)]
        assert list(variants) == list(VARIANTS)
        for split, rows in zip(SEEDS_SPLITS, variants.values(), strict=True):
            assert rows["row_id"][:] == ids
            assert rows["instruction"][:] == [f"{split} {n} " for n in range(3)]
        for option in (
            {"dataset_config": "reflect_both"},
            {"dataset_split": "reflect_both", "dataset_config": "default"},
        ):
            alone = load(load_variants, **option)
            assert list(alone) == ["reflect_both"]
            assert alone["reflect_both"].to_list() == variants["reflect_both"].to_list()
            assert load(load_rows, **option).dataset["row_id"][:] == ids

    def test_the_original_and_the_part_asked_for_move(self, load, hub):
        hub.put("dataset", "tester/set", seeds())
        load(load_rows, dataset_config="reflect_response")
        assert fetched(hub) == [
            f"data/{split}-00000-of-00001-8f1c7e.parquet" for split in ("origin", "reflect_response")
        ]


class TestAnyOther:
    def test_configs_and_splits_of_its_card(self, load, hub, complaint):
        files = {"main/train-0": "main", "main/test-0": "test", "extra/train-0": "extra"}
        hub.put(
            "dataset",
            "tester/set",
            {"README.md": CARD, **{f"{path}.parquet": parquet(texts(name)) for path, name in files.items()}},
        )
        named = lambda **asked: load(load_rows, **asked).dataset["instruction"][0]  # noqa: E731
        assert named(dataset_config="main") == "main 0 "
        assert fetched(hub) == ["main/train-0.parquet"]
        assert named(dataset_config="main", dataset_split="test") == "test 0 "
        assert named(dataset_config="extra") == "extra 0 "
        message = complaint(named, dataset_config="main", dataset_split="dev")
        assert message == "--dataset_split dev: --dataset tester/set has the splits train, test"
        for config in (None, "best"):
            message = complaint(named, dataset_config=config)
            assert message.startswith(f"--dataset tester/set --dataset_config {config}: ")
            assert "['main', 'extra']" in message

    def test_settings_of_its_card(self, load, hub):
        card = "---\nconfigs:\n- config_name: odd\n  data_files: rows.csv\n  sep: ;\n---\n"
        hub.put("dataset", "tester/set", {"README.md": card, "rows.csv": "instruction;output\na, b;c\n"})
        assert load(load_rows).dataset.select_columns(["instruction", "output"])[:] == {
            "instruction": ["a, b"],
            "output": ["c"],
        }

    def test_file_types(self, load, hub, tmp_path):
        import gzip

        records = texts("Ünï")
        lines = "".join(json.dumps(record) + "\n" for record in records)
        Dataset.from_list(records).to_csv(str(tmp_path / "csv"), index=False)
        contents = {
            "json": json.dumps(records, indent=1),
            "jsonl": lines,
            "parquet": parquet(records),
            "csv": (tmp_path / "csv").read_text(),
            "jsonl.gz": gzip.compress(lines.encode()),
        }
        (tmp_path / "same.jsonl").write_text(lines)
        same = load_rows(DataArguments(str(tmp_path / "same.jsonl")))
        for suffix, content in contents.items():
            hub.put("dataset", f"tester/{suffix}", {f"alpaca.{suffix}": content})
            loaded = load(load_rows, f"tester/{suffix}")
            assert loaded.dataset.to_list() == same.dataset.to_list() and loaded.notes == same.notes

    def test_bad_json(self, load, hub, complaint, tmp_path):
        """The words are those for a local file of that content."""
        good = '{"instruction": "a", "output": "b"}'
        contents = [
            "[1]",
            f"[{good}, {good}",
            f"[{good}] x",
            f'[{good}, {{"instruction"',
            '[{"a": 1}]',
            "[]",
            "",
            "{",
            f"[{good} 3]",
        ]
        for number, content in enumerate(contents):
            (local := tmp_path / "alpaca.json").write_text(content)
            hub.put("dataset", repo := f"tester/bad-{number}", {"alpaca.json": content})
            said = complaint(load, load_rows, repo)
            said = re.sub(rf"\S*snapshots/\w+/alpaca.json|{repo}(/alpaca.json)?", str(local), said)
            assert said == complaint(load_rows, DataArguments(str(local)))

    def test_no_data_files(self, load, hub, complaint):
        hub.put("dataset", "tester/set", {"README.md": "x", "published_files.json": "{}"})
        message = complaint(load, load_rows)
        assert message == "--dataset tester/set: the repository holds no data files that are known"
        hub.put("dataset", "tester/set", {"a.png": b"x"})
        assert "its imagefolder files hold no rows of texts; parquet, json" in complaint(load, load_rows)

    @pytest.mark.usefixtures("hub")
    def test_pushed_by_datasets(self, load):
        Dataset.from_list(texts("pushed")).push_to_hub("tester/set", num_shards=2)
        assert load(load_rows).dataset["instruction"][:] == [f"pushed {n} " for n in range(3)]


class TestSameRows:
    """In place or downloaded: rows, ids and fingerprints are the same."""

    @pytest.mark.parametrize("layout", ["shards", "json", "jsonl", "seeds", "published"])
    def test_same(self, layout, hub, monkeypatch):
        monkeypatch.setattr("hub_cards.rows.CHUNK_ROWS", 100)
        records = [{**text, "kept": number} for number, text in enumerate(texts("x", range(250)))]
        files = {
            "shards": {
                f"data/train-0000{n}-of-00002.parquet": parquet(records[n::2], row_group_size=50) for n in range(2)
            },
            "json": {"alpaca.json": json.dumps(records)},
            "jsonl": {"alpaca.jsonl": "\n".join(map(json.dumps, records))},
            "seeds": seeds(),
            "published": published(rows=150),
        }[layout]
        hub.put("dataset", "tester/set", files)
        wheres = [[]] if layout in ("seeds", "published") else [[], ["kept highest 3"]]
        for limit, where in itertools.product([None, 1, 120], wheres):
            fetch, stream = (
                DataArguments("tester/set", streaming=streaming, limit=limit) for streaming in (False, True)
            )
            assert fetch.source() == stream.source() and fetch.view() == stream.view()
            one, other = load_rows(stream, where).dataset, load_rows(fetch, where).dataset
            assert one.to_list() == other.to_list() and one.features == other.features
            assert one._fingerprint == other._fingerprint
        one, other = load_variants(stream), load_variants(fetch)
        assert {name: part._fingerprint for name, part in one.items()} == {
            name: part._fingerprint for name, part in other.items()
        }

    def test_a_local_path_does_not_stream(self, tmp_path, complaint):
        (tmp_path / "d.jsonl").write_text(json.dumps(texts("x")[0]))
        message = complaint(load_rows, DataArguments(str(tmp_path / "d.jsonl"), streaming=True))
        assert message == f"--streaming: is for data on the Hub; --dataset {tmp_path}/d.jsonl is a file"


class TestWhatMoves:
    SHARDS = 4

    def put(self, hub, layout: str) -> int:
        """A data set of four shards that do not compress; its bytes."""
        files = {}
        for shard in range(self.SHARDS):
            records = texts(f"shard {shard}", range(400), pad=1200)
            name = f"data/train-{shard:05d}-of-{self.SHARDS:05d}"
            if layout == "parquet":
                files[f"{name}.parquet"] = parquet(
                    records, use_dictionary=False, data_page_size=2**14, write_batch_size=64
                )
            else:
                text = json.dumps(records) if layout == "json" else "\n".join(map(json.dumps, records))
                files[f"{name}.{layout}"] = text
        hub.put("dataset", "tester/set", files)
        return sum(map(len, files.values()))

    @pytest.mark.parametrize("layout", ["parquet", "json", "jsonl"])
    def test_a_few_rows_move_a_fraction_and_leave_nothing_behind(self, layout, hub):
        size = self.put(hub, layout)
        rows = load_rows(DataArguments("tester/set", limit=3, streaming=True)).dataset
        assert [text.split()[:3] for text in rows["instruction"][:]] == [["shard", "0", str(n)] for n in range(3)]
        moved = sum(one["sent"] for one in hub.requests("GET", "train-"))
        assert 0 < moved < size / 10
        assert fetched(hub) == [f"data/train-00000-of-00004.{layout}"]
        assert not list(hub.home.rglob("*train-*"))

    def test_all_rows_in_few_requests(self, hub):
        size = self.put(hub, "parquet")
        assert len(load_rows(DataArguments("tester/set", streaming=True)).dataset) == 400 * self.SHARDS
        reads = hub.requests("GET", "train-", status=206)
        assert len(reads) <= 3 * self.SHARDS
        assert sum(one["sent"] for one in reads) < 1.1 * size

    def test_a_fault_in_between(self, hub):
        self.put(hub, "parquet")
        hub.fault("GET", "train-00001", times=2, status=503)
        assert len(load_rows(DataArguments("tester/set", streaming=True)).dataset) == 400 * self.SHARDS
        hub.fault("GET", "train-00002", times=None, status=503)
        with pytest.raises(StoppedError, match=r"--dataset tester/set: cannot read data/train-00002-of-00004"):
            load_rows(DataArguments("tester/set", streaming=True))


class TestOffline:
    @pytest.mark.parametrize("layout", ["published", "seeds", "plain", "csv"])
    def test_the_same_as_online(self, layout, hub):
        files = {
            "published": published,
            "seeds": seeds,
            "plain": lambda: {"README.md": "x", "data/train-00000-of-00001.parquet": parquet(texts("x"))},
            "csv": lambda: {"rows.csv": "instruction,output\na,b\n"},
        }[layout]()
        hub.put("dataset", "tester/set", files)
        online = load_rows(arguments := DataArguments("tester/set")).dataset
        hub.go_offline()
        again = DataArguments("tester/set")
        offline = load_rows(again).dataset
        assert again.source() == arguments.source()
        assert offline.to_list() == online.to_list() and offline._fingerprint == online._fingerprint

    def test_a_part_that_was_not_fetched(self, hub, complaint):
        hub.put("dataset", "tester/set", published())
        load_rows(DataArguments("tester/set", dataset_config="original"))
        hub.go_offline()
        message = complaint(load_rows, DataArguments("tester/set", dataset_config="reflect_both"))
        assert message.startswith(
            "--dataset tester/set: HF_HUB_OFFLINE is set and the cache does not hold reflect_both/train-00000-of-00001"
        )
        assert "hf download tester/set --repo-type dataset --revision" in message

    def test_in_place_needs_the_hub(self, hub, complaint):
        hub.put("dataset", "tester/set", published(rows=1000, pad=200))
        load_rows(DataArguments("tester/set", limit=1, streaming=True))
        hub.go_offline()
        for load in (load_rows, load_variants):
            message = complaint(load, DataArguments("tester/set", limit=1, streaming=True))
            assert message.startswith(
                "--streaming: reads --dataset tester/set on the Hub and keeps nothing of it, and HF_HUB_OFFLINE is "
                "set; leave --streaming out, after one run without it online or `hf download tester/set"
            )
        assert "--streaming: reads" in complaint(DataArguments("tester/other", streaming=True).source)
        assert "once online" in complaint(DataArguments("tester/other").source)

    def test_in_place_needs_the_hub_for_what_datasets_reads(self, hub, complaint):
        hub.put("dataset", "tester/set", {"rows.csv": "instruction,output\na,b\n"})
        arguments = DataArguments("tester/set", streaming=True)
        assert load_rows(arguments).dataset["output"][:] == ["b"]
        hub.go_offline()
        assert complaint(load_rows, arguments).startswith("--streaming: reads --dataset tester/set on the Hub")
