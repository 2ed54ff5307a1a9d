"""Loading rows: from every kind of file and from folders, with stable ids, and one clear line for bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from hub_cards import rows
from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.rows import DataArguments, load_rows, load_variants, number_duplicates, parse_records, row_id
from hub_cards.storage import save_result

# printf '["Größe 🦜", "", "ok"]' | sha256sum | cut -c1-16, and so on.
HASHES = {
    ("a", "", "b"): "f61a4962f6a100e5",
    ("a", "b", ""): "cd04992cab43ba29",
    ("Größe 🦜", "", "ok"): "c6d23e3f7df4c93b",
    ('say "hi"\n', "", "b"): "8fc1107234d77ae6",
    ("a\u2028b", "", "c"): "d2d066dfef89e1d0",
}
ALPACA = [
    {"id": 7, "instruction": "a", "input": None, "output": "b"},
    {"id": None, "instruction": "Größe 🦜", "input": "", "output": "ok"},
    {"id": 9, "instruction": "a", "input": "b", "output": ""},
]
ALPACA_ROWS = {
    "row_id": ["f61a4962f6a100e5", "c6d23e3f7df4c93b", "cd04992cab43ba29"],
    "source_id": ["7", None, "9"],
    "instruction": ["a", "Größe 🦜", "a"],
    "input": ["", "", "b"],
    "output": ["b", "ok", ""],
    "variant": ["original"] * 3,
}


def write(path: Path, content: str | bytes | list[dict]) -> str:
    """Write text, bytes, or records in the form that the file's name says."""
    if isinstance(content, list):
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(content), path)
            return str(path)
        lines = "\n".join(json.dumps(record, ensure_ascii=False) for record in content) + "\n"
        content = json.dumps(content, indent=1) if path.suffix == ".json" else lines
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def load(path: Path, content: str | bytes | list[dict], **options) -> dict[str, list]:
    return load_rows(DataArguments(write(path, content), **options)).dataset[:]


class TestRowId:
    @pytest.mark.parametrize(("pair", "expected"), HASHES.items())
    def test_is_the_sha256_of_the_pairs_json(self, pair, expected):
        assert row_id(*pair) == expected

    def test_tells_the_fields_apart(self):
        assert len({row_id("ab", "", "c"), row_id("a", "b", "c"), row_id("a", "", "bc"), row_id("", "ab", "c")}) == 4

    def test_repeats_are_numbered_from_2(self):
        assert number_duplicates(["x", "y", "x", "x", "y"]) == ["x", "y", "x-2", "x-3", "y-2"]

    def test_exact_duplicates_get_numbers_and_are_counted(self, tmp_path):
        pair = {"instruction": "a", "output": "b"}
        path = write(tmp_path / "d.jsonl", [pair, {**pair, "input": ""}, {"instruction": "a", "output": "c"}, pair])
        loaded = load_rows(DataArguments(path))
        ids = loaded.dataset["row_id"][:]
        assert [ids[0], ids[1], ids[3]] == ["f61a4962f6a100e5", "f61a4962f6a100e5-2", "f61a4962f6a100e5-3"]
        assert loaded.notes["exact_duplicates"] == 2

    def test_does_not_depend_on_position(self):
        forward = parse_records(ALPACA, "d").dataset
        backward = parse_records(ALPACA[::-1], "d").dataset
        assert backward["row_id"][:] == forward["row_id"][::-1]


class TestFiles:
    @pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
    def test_alpaca_rows_are_the_same_from_any_file_type(self, name, tmp_path):
        assert load(tmp_path / name, ALPACA) == ALPACA_ROWS

    def test_json_file_with_one_record_a_line(self, tmp_path):
        text = "\n".join(json.dumps(record) for record in ALPACA)
        assert load(tmp_path / "rows.json", text) == ALPACA_ROWS

    def test_columns_are_strings_even_where_all_values_are_null(self, tmp_path):
        path = write(tmp_path / "d.jsonl", [{"instruction": "a", "output": "b"}])
        features = load_rows(DataArguments(path)).dataset.features
        assert {name: kind.dtype for name, kind in features.items()} == dict.fromkeys(ALPACA_ROWS, "string")

    @pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
    @pytest.mark.parametrize(
        ("record", "pair"),
        [
            ({"instruction": "Hi", "output": "Yo"}, ("Hi", "", "Yo")),
            ({"data": {"input": "n", "instruction": "Hi", "output": "Yo"}}, ("Hi", "n", "Yo")),
            (
                {"conversations": [{"from": who, "value": what} for who, what in (("human", "Hi"), ("gpt", "Yo"))]},
                ("Hi", "", "Yo"),
            ),
            (
                {"messages": [{"role": who, "content": what} for who, what in (("user", "Hi"), ("assistant", "Yo"))]},
                ("Hi", "", "Yo"),
            ),
            ({"prompt": "Hi", "completion": "Yo"}, ("Hi", "", "Yo")),
            (
                {
                    "prompt": [{"role": "user", "content": "Hi"}],
                    "completion": [{"role": "assistant", "content": "Yo"}],
                },
                ("Hi", "", "Yo"),
            ),
        ],
        ids=["wizardlm", "published-struct", "sharegpt", "messages", "prompt-completion", "prompt-completion-messages"],
    )
    def test_every_format_from_every_file_type(self, name, record, pair, tmp_path):
        rows = load(tmp_path / name, [record])
        assert (rows["instruction"], rows["input"], rows["output"]) == tuple([text] for text in pair)

    def test_line_separator_within_a_string_does_not_cut_the_line(self, tmp_path):
        rows = load(
            tmp_path / "d.jsonl", '{"instruction": "a\u2028b", "output": "c"}\n{"instruction": "a", "output": "b"}'
        )
        assert rows["instruction"] == ["a\u2028b", "a"]
        assert rows["row_id"] == [HASHES["a\u2028b", "", "c"], "f61a4962f6a100e5"]

    @pytest.mark.parametrize("name", ["d.json", "d.jsonl"])
    def test_byte_order_mark_is_no_content(self, name, tmp_path):
        content = json.dumps([ALPACA[0]] if name == "d.json" else ALPACA[0])
        assert load(tmp_path / name, content.encode("utf-8-sig"))["row_id"] == ["f61a4962f6a100e5"]

    def test_blank_lines_and_windows_line_ends_are_no_rows(self, tmp_path):
        line = '{"instruction": "a", "output": "b"}'
        assert len(load(tmp_path / "d.jsonl", f"\r\n{line}\r\n\r\n  \r\n{line}\r\n")["row_id"]) == 2

    def test_bare_nan_of_published_json_is_accepted(self, tmp_path):
        text = '[{"instruction": "a", "input": "", "output": "b", "ppl_A_direct": NaN}]'
        assert load(tmp_path / "d.json", text)["row_id"] == ["f61a4962f6a100e5"]

    def test_escaped_surrogate_pair_is_one_character(self, tmp_path):
        rows = load(tmp_path / "d.jsonl", r'{"instruction": "Gr\u00f6\u00dfe \ud83e\udd9c", "output": "ok"}')
        assert rows["row_id"] == ["c6d23e3f7df4c93b"]

    def test_what_is_not_carried_on_is_noted(self, tmp_path):
        exchange = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
        records = [
            {"id": "1", "messages": exchange * 2, "source": "web"},
            {"id": "2", "messages": exchange, "language": "en"},
        ]
        loaded = load_rows(DataArguments(write(tmp_path / "d.jsonl", records)))
        assert loaded.notes == {
            "format": "chat messages",
            "exact_duplicates": 1,
            "rows_with_further_turns_not_carried": 1,
            "columns_not_carried": ["language", "source"],
        }

    def test_columns_that_are_carried_are_not_noted(self, tmp_path):
        notes = load_rows(DataArguments(write(tmp_path / "d.json", ALPACA))).notes
        assert notes["columns_not_carried"] == []


class TestSourceId:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [("alpaca-1", "alpaca-1"), (3, "3"), (0, "0"), (None, None), ("", ""), ("ÿ🦜", "ÿ🦜")],
    )
    def test_is_the_records_own_id_as_text(self, given, kept, tmp_path):
        assert load(tmp_path / "d.jsonl", [{"id": given, "instruction": "a", "output": "b"}])["source_id"] == [kept]

    def test_has_no_part_in_the_row_id(self, tmp_path):
        rows = load(tmp_path / "d.jsonl", [{"id": "x", "instruction": "a", "output": "b"}])
        assert rows["row_id"] == ["f61a4962f6a100e5"]


class TestLimit:
    @pytest.mark.parametrize(("limit", "taken"), [(1, 1), (3, 3), (99, 3), (None, 3)])
    @pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.parquet"])
    def test_takes_the_first_rows(self, name, limit, taken, tmp_path):
        assert load(tmp_path / name, ALPACA, limit=limit)["row_id"] == ALPACA_ROWS["row_id"][:taken]

    def test_what_lies_behind_it_is_not_looked_at(self, tmp_path):
        assert len(load(tmp_path / "d.jsonl", '{"instruction": "a", "output": "b"}\nnot JSON', limit=1)["row_id"]) == 1

    @pytest.mark.parametrize("limit", [0, -1])
    def test_below_1_is_refused(self, limit, complaint):
        assert complaint(DataArguments, "d.json", limit=limit) == f"--limit {limit}: must be at least 1"


GOOD = '{"instruction": "a", "output": "b"}\n'
BAD_FILES = {
    "empty file": ("d.jsonl", "", ["d.jsonl is empty"]),
    "only blank lines": ("d.jsonl", "\n \n", ["d.jsonl is empty"]),
    "empty array": ("d.json", "[]", ["d.json is empty"]),
    "not JSON": ("d.jsonl", GOOD + "\n" + GOOD + "oops", ["d.jsonl is not JSON", "line 4, column 1"]),
    "not JSON in an array": ("d.json", '[\n{"instruction": "a",}\n]', ["d.json is not JSON", "line 2, column 21"]),
    "cut off": ("d.json", '[{"instruction": "a', ["d.json is not JSON", "line 1"]),
    "endless number": ("d.jsonl", GOOD + '{"id": ' + "9" * 5000 + "}", ["d.jsonl is not JSON", "line 2"]),
    "nested too deep": ("d.jsonl", "[" * 100_000, ["d.jsonl is not JSON", "line 1"]),
    "not UTF-8": ("d.jsonl", GOOD.encode() + b"\xff", ["d.jsonl is not UTF-8 text", "byte 36"]),
    "lacks a column": (
        "d.jsonl",
        '{"question": "a", "answer": "b"}',
        ["d.jsonl has the columns answer, question;", "instruction + output"],
    ),
    "record without fields": ("d.jsonl", "{}", ["d.jsonl has the columns (none)"]),
    "later row lacks a column": (
        "d.jsonl",
        GOOD * 2 + '{"instruction": "a"}',
        ["d.jsonl, row 2: field 'output' is missing (alpaca format; rows count from 0)"],
    ),
    "field is no string": (
        "d.jsonl",
        GOOD + '{"instruction": 5, "output": "b"}',
        ["d.jsonl, row 1: field 'instruction' is a number (5), not a string"],
    ),
    "conversation without an answer": (
        "d.jsonl",
        '{"conversations": [{"from": "human", "value": "Hi"}]}',
        ["d.jsonl, row 0: field 'conversations' holds no user turn followed by an assistant turn"],
    ),
    "half a surrogate pair": (
        "d.jsonl",
        GOOD + r'{"instruction": "a", "output": "b\ud83e"}',
        ["d.jsonl, row 1: holds half a surrogate pair"],
    ),
    "half a surrogate pair in the id": (
        "d.jsonl",
        r'{"id": "\ud83e", "instruction": "a", "output": "b"}',
        ["d.jsonl, row 0: holds half a surrogate pair"],
    ),
    "record is no object": ("d.jsonl", GOOD + '["a", "b"]', ['d.jsonl: line 2 is ["a", "b"], not an object']),
    "array element is no object": ("d.json", f"[{GOOD}, null]", ["d.json: row 1 is null, not an object"]),
    "parquet is something else": ("d.parquet", "hello", ["d.parquet cannot be read as parquet"]),
    "parquet is empty": ("d.parquet", "", ["d.parquet cannot be read as parquet"]),
    "parquet without rows": ("d.parquet", [], ["d.parquet is empty"]),
    "parquet with another type": (
        "d.parquet",
        [{"instruction": 5, "output": "b"}],
        ["d.parquet, row 0: field 'instruction' is a number (5)"],
    ),
    "parquet lacks a column": (
        "d.parquet",
        [{"text": "x", "output": "b"}],
        ["d.parquet has the columns output, text;"],
    ),
    "unknown suffix": ("d.csv", "instruction,output", ["d.csv: unknown file type '.csv'", ".json, .jsonl, .parquet"]),
    "no suffix": ("data", GOOD, ["unknown file type ''"]),
}


class TestBadInput:
    @pytest.mark.parametrize(("name", "content", "parts"), BAD_FILES.values(), ids=BAD_FILES)
    def test_one_line_says_what_is_wrong_and_where(self, name, content, parts, tmp_path, complaint):
        message = complaint(load, tmp_path / name, content)
        for part in parts:
            assert part in message
        assert str(tmp_path) in message
        assert len(message) < 400

    def test_parquet_with_a_damaged_page(self, tmp_path, complaint):
        write(tmp_path / "whole.parquet", [{"instruction": f"question {n}", "output": "x"} for n in range(3000)])
        content = bytearray((tmp_path / "whole.parquet").read_bytes())
        content[4 : len(content) // 2] = bytes(byte ^ 0xFF for byte in content[4 : len(content) // 2])
        assert "cannot be read as parquet" in complaint(load, tmp_path / "d.parquet", bytes(content))

    def test_parquet_text_that_is_not_utf8(self, tmp_path, complaint):
        offsets, text = pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
        table = pa.table({"instruction": pa.StringArray.from_buffers(1, offsets, text), "output": ["y"]})
        pq.write_table(table, tmp_path / "d.parquet")
        message = complaint(load_rows, DataArguments(str(tmp_path / "d.parquet")))
        assert "d.parquet cannot be read as parquet" in message


@pytest.fixture
def saved(tmp_path) -> str:
    """A folder saved by a stage, with a selection, two variants and the decisions."""
    columns = ("row_id", "instruction", "input", "output")
    parts = {
        name: Dataset.from_dict({column: [f"{name} {column} {number}" for number in range(3)] for column in columns})
        for name in ("reflect_both", "decisions", "original", "selected")
    }
    save_result(tmp_path / "saved", DatasetDict(parts), [StepRecord("select", 1, {}, {})])
    return str(tmp_path / "saved")


class TestFolders:
    @pytest.mark.parametrize("wanted", [None, "selected", "original", "reflect_both"])
    def test_config_is_the_key_and_selected_the_default(self, wanted, saved):
        loaded = load_rows(DataArguments(saved, dataset_config=wanted))
        assert loaded.dataset["row_id"][:] == [f"{wanted or 'selected'} row_id {number}" for number in range(3)]
        assert loaded.notes == {}

    def test_original_is_the_default_where_nothing_was_selected(self, tmp_path):
        parts = {name: Dataset.from_dict({"row_id": [name]}) for name in ("reflect_both", "original")}
        save_result(tmp_path / "saved", DatasetDict(parts), [StepRecord("reflect", 1, {}, {})])
        assert load_rows(DataArguments(str(tmp_path / "saved"))).dataset["row_id"][:] == ["original"]

    def test_limit_takes_the_first_rows(self, saved):
        loaded = load_rows(DataArguments(saved, limit=2))
        assert loaded.dataset["row_id"][:] == ["selected row_id 0", "selected row_id 1"]

    def test_unknown_config_lists_the_known(self, saved, complaint):
        message = complaint(load_rows, DataArguments(saved, dataset_config="best"))
        assert message.startswith(f"--dataset_config best: {saved} holds ")
        assert all(name in message for name in ("reflect_both", "decisions", "original", "selected"))

    def test_folder_that_no_stage_saved_is_refused(self, tmp_path, complaint):
        Dataset.from_dict({"a": ["b"]}).save_to_disk(tmp_path / "foreign")
        message = complaint(load_rows, DataArguments(str(tmp_path / "foreign")))
        assert "was not saved by a stage" in message
        assert str(tmp_path / "foreign") in message

    def test_result_that_is_no_data_set_is_refused(self, tmp_path, complaint):
        (tmp_path / "provenance.json").write_text('[{"step": "sft", "version": 1, "config": {}, "inputs": {}}]')
        assert "holds no data set saved by a stage" in complaint(load_rows, DataArguments(str(tmp_path)))


class TestWhere:
    """Conditions on any column of the source, those that the rows do not carry too."""

    SCORED = (
        {"instruction": "a", "output": "1", "ifd": 0.9, "kind": "math"},
        {"instruction": "b", "output": "2", "ifd": None, "kind": "code"},
        {"instruction": "c", "output": "3", "ifd": 0.2, "kind": "code"},
        {"instruction": "d", "output": "4", "ifd": 0.7, "kind": "code"},
        {"instruction": "e", "output": "5", "ifd": 0.5, "kind": "math"},
    )

    @pytest.fixture(params=["d.jsonl", "d.json", "d.parquet", "folder"])
    def scored(self, request, tmp_path) -> str:
        if request.param != "folder":
            return write(tmp_path / request.param, list(self.SCORED))
        parts = {"original": Dataset.from_list([{"row_id": "r", **record} for record in self.SCORED])}
        save_result(tmp_path / "saved", DatasetDict(parts), [StepRecord("score", 1, {}, {})])
        return str(tmp_path / "saved")

    @pytest.mark.parametrize(
        ("where", "limit", "expected"),
        [
            (["ifd > 0.4"], None, "ade"),
            (["ifd > 0.4"], 2, "ad"),  # the first two that pass
            (["ifd lowest 2"], None, "ce"),
            (["ifd lowest 2"], 1, "c"),
            (["kind == code", "ifd highest 1"], None, "d"),
            (["ifd highest 1", "kind == math"], None, "a"),
            ([], 2, "ab"),
        ],
    )
    def test_limit_counts_the_rows_that_pass(self, scored, where, limit, expected):
        loaded = load_rows(DataArguments(scored, limit=limit), where)
        assert loaded.dataset["instruction"][:] == list(expected)

    def test_unknown_column_is_refused_with_the_known_ones(self, scored, complaint):
        message = complaint(load_rows, DataArguments(scored), ["ifd > 0", "ifd_ppl > 0"])
        assert message.startswith(f"--where: {scored} has no column 'ifd_ppl'; it has ")
        assert "instruction, output, ifd, kind" in message

    def test_a_column_of_some_records_only_is_null_in_the_others(self, tmp_path):
        records = [{"instruction": "a", "output": "x"}, {"instruction": "b", "output": "y", "score": 1}]
        loaded = load_rows(DataArguments(write(tmp_path / "d.jsonl", records)), ["score >= 1"])
        assert loaded.dataset["instruction"][:] == ["b"]

    def test_nothing_that_passes_is_refused(self, scored, complaint):
        assert complaint(load_rows, DataArguments(scored), ["ifd > 1"]) == "--where 'ifd > 1': no row passes it"


class TestVariants:
    def test_are_all_that_a_folder_holds_in_the_contracts_order(self, saved):
        variants = load_variants(DataArguments(saved, limit=1))
        assert {name: rows["row_id"][:] for name, rows in variants.items()} == {
            "original": ["original row_id 0"],
            "reflect_both": ["reflect_both row_id 0"],
        }
        assert list(variants) == ["original", "reflect_both"]

    def test_are_the_one_asked_for(self, saved):
        assert list(load_variants(DataArguments(saved, dataset_config="reflect_both"))) == ["reflect_both"]

    def test_of_any_other_data_are_the_original_alone(self, tmp_path):
        variants = load_variants(DataArguments(write(tmp_path / "d.jsonl", ALPACA), limit=2))
        assert list(variants) == ["original"]
        assert variants["original"]["row_id"][:] == ALPACA_ROWS["row_id"][:2]

    def test_folder_without_any_is_refused(self, tmp_path, complaint):
        rows = DatasetDict(decisions=Dataset.from_dict({"row_id": ["a"]}))
        save_result(tmp_path / "saved", rows, [StepRecord("select", 1, {}, {})])
        message = complaint(load_variants, DataArguments(str(tmp_path / "saved")))
        assert "holds decisions and none of original, reflect_instruction" in message


def test_a_bad_record_keeps_its_number_under_a_condition(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"instruction": "i", "output": "o", "s": 0}, {"instruction": 1, "output": "o", "s": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInputError, match="row 1: "):
        load_rows(DataArguments(str(path)), where=["s > 0"])


class TestChunks:
    """Rows are read some at a time into a file, so that they may be more than the memory holds."""

    def test_the_size_of_a_chunk_changes_nothing(self, monkeypatch):
        records = [{"instruction": f"q{n % 4}", "output": "a", "id": n} for n in range(11)]
        whole = parse_records(records, "d")
        monkeypatch.setattr(rows, "CHUNK_ROWS", 3)
        cut = parse_records(iter(records), "d")
        assert cut.dataset.to_list() == whole.dataset.to_list()
        assert cut.notes == whole.notes and cut.notes["exact_duplicates"] == 7
        assert cut.dataset["row_id"][-1].endswith("-3")

    def test_the_memory_that_rows_take_does_not_grow_with_them(self, tmp_path):
        """In a process of its own: what it holds beyond the first rows stays far below the size of the file."""
        path = tmp_path / "d.jsonl"
        record = json.dumps({"instruction": "why?", "output": "because " * 250})
        path.write_text(f"{record}\n" * 40_000)  # 80 MB
        code = (
            "import resource, sys; from hub_cards.rows import DataArguments, load_rows\n"
            "load_rows(DataArguments(sys.argv[1], limit=6000))\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "assert len(load_rows(DataArguments(sys.argv[1])).dataset) == 40_000\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
        )
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert int(done.stdout) < 30_000  # kB
