"""The cards of data sets: metadata that the Hub and `datasets` read back, and a text that says how they were made."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset, Features, List, Value, load_dataset
from huggingface_hub import DatasetCard, metadata_load
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from hub_cards.cards.about import About, Places
from hub_cards.cards.data_set import write_dataset_card, write_statistics_card
from hub_cards.cards.own_section import EMPTY_SECTION
from hub_cards.provenance import StepRecord
from hub_cards.publishing.contents import write_configs
from hub_cards.schema import COLUMNS_BY_NAME
from hub_cards.sources import Source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ABOUT = About(title="A title", license="cc-by-nc-4.0", notes="Some notes.")


@pytest.fixture
def configs(scored, selection):
    return {"selected": selection["selected"].add_column("prompt", ["p"] * 3), **scored}


@pytest.fixture
def card(tmp_path, configs, lineage):
    """Write a data set's card, by default of the whole small run, and read it back."""

    def write(records=lineage, configs=configs, **about):
        patterns = {name: f"{name}/train-*.parquet" for name in configs}
        write_dataset_card(tmp_path, configs, patterns, records, replace(ABOUT, **about))
        return DatasetCard.load(tmp_path / "README.md")

    return write


def table_rows(text: str, first_cell: str) -> list[list[str]]:
    """The cells of the table lines whose first cell is this."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [cells for cells in lines if cells[0] == first_cell]


def on_hub(records: list[StepRecord], location: str = "tatsu-lab/alpaca") -> list[StepRecord]:
    """The same records, whose first step read a data set of the Hub."""
    source = Source("hub", location, f"{location}@{COMMIT}", COMMIT)
    return [replace(records[0], inputs={**records[0].inputs, "dataset": source}), *records[1:]]


class TestMetadata:
    def test_names_every_config_and_one_default(self, card, tmp_path):
        metadata = card(language=["en"]) and metadata_load(tmp_path / "README.md")
        del metadata["dataset_info"]
        assert metadata == {
            "language": ["en"],
            "license": "cc-by-nc-4.0",
            "pretty_name": "A title",
            "task_categories": ["text-generation"],
            "tags": ["reflection-tuning", "instruction-tuning", "data-recycling"],
            "size_categories": ["n<1K"],
            "configs": [
                {
                    "config_name": "selected",
                    "data_files": [{"split": "train", "path": "selected/train-*.parquet"}],
                    "default": True,
                },
                {"config_name": "original", "data_files": [{"split": "train", "path": "original/train-*.parquet"}]},
                {
                    "config_name": "reflect_response",
                    "data_files": [{"split": "train", "path": "reflect_response/train-*.parquet"}],
                },
            ],
        }

    def test_names_the_source_where_it_is_one_of_the_hub(self, card, lineage):
        assert card(records=on_hub(lineage)).data.source_datasets == ["tatsu-lab/alpaca"]
        assert "source_datasets" not in card().data.to_dict()

    @pytest.mark.parametrize("title", ["Quick: 96 rows", 'The "best" #1', "yes", "- Größe 🦜", "{a}", "---", "a" * 300])
    def test_title_of_any_kind_stays_itself(self, title, card):
        written = card(title=title)
        assert written.data.pretty_name == title
        assert f"\n# {title}\n" in written.text

    def test_keys_without_a_value_are_left_out(self, card, tmp_path):
        card(language=None)
        assert None not in metadata_load(tmp_path / "README.md").values()
        assert "null" not in (tmp_path / "README.md").read_text().split("\n---\n")[0]

    @pytest.mark.parametrize(
        "names", [("original", "selected"), ("decisions", "selected"), ("reflect_both", "original")]
    )
    def test_default_is_the_selection_or_else_the_original(self, names, card):
        rows = Dataset.from_dict({"row_id": ["a"]})
        metadata = card(configs=dict.fromkeys(names, rows)).data.to_dict()
        default = [config["config_name"] for config in metadata["configs"] if config.get("default")]
        assert default == [names[1]]


class TestWrittenFolder:
    """`load_dataset` on the very folder, with the real files."""

    @pytest.fixture
    def loaded(self, tmp_path, lineage):
        def load(configs, *names, run="run"):
            folder = tmp_path / run / "dataset"
            folder.mkdir(parents=True)
            write_dataset_card(folder, configs, write_configs(folder, configs), lineage, ABOUT)
            return load_dataset(str(folder), *names, split="train", cache_dir=str(tmp_path / "cache"))

        return load

    def test_has_exactly_the_features_that_were_written(self, loaded):
        message = List({"role": Value("string"), "content": Value("string")})
        kinds = {"row_id": Value("string"), "ifd_ppl": Value("float64"), "n": Value("null"), "prompt": message}
        kinds |= {"token_losses_A_direct": List(Value("float32")), "selected": Value("bool")}
        rows = Dataset.from_dict(
            {
                "row_id": ["a", "b"],
                "ifd_ppl": [None, None],
                "n": [None, None],
                "prompt": [[{"role": "user", "content": "Q"}], []],
                "token_losses_A_direct": [[0.5], None],
                "selected": [True, None],
            },
            features=Features(kinds),
        )
        found = loaded({"selected": rows, "original": rows.select([1])})
        assert found.features == rows.features
        assert found[:] == rows[:]

    def test_counts_are_verified(self, loaded, tmp_path):
        rows = Dataset.from_dict({"row_id": ["a", "b"]})
        assert len(loaded({"original": rows})) == 2
        readme = tmp_path / "run/dataset/README.md"
        readme.write_text(readme.read_text().replace("num_examples: 2", "num_examples: 3"))
        with pytest.raises(Exception, match="num_examples=3"):
            load_dataset(str(readme.parent), split="train", cache_dir=str(tmp_path / "cache"))

    def test_sizes_are_those_of_the_files(self, loaded, tmp_path):
        rows = Dataset.from_dict({"row_id": ["a", "b"]})
        loaded({"selected": rows, "original": rows})
        info = metadata_load(tmp_path / "run/dataset/README.md")["dataset_info"][0]
        (file,) = (tmp_path / "run/dataset/original").iterdir()
        assert info["config_name"] == "original"
        assert info["download_size"] == file.stat().st_size
        assert info["splits"] == [{"name": "train", "num_bytes": info["dataset_size"], "num_examples": 2}]

    def test_other_columns_leave_no_trace_of_the_old_ones(self, loaded):
        loaded({"selected": Dataset.from_dict({"row_id": ["a"], "old": [1]})}, "selected", run="one")
        found = loaded({"selected": Dataset.from_dict({"row_id": ["a"], "new": ["x"]})}, "selected", run="two")
        assert found.column_names == ["row_id", "new"]

    def test_the_example_runs(self, tmp_path, lineage, configs):
        folder = tmp_path / 'a "quoted" `folder`'
        folder.mkdir()
        about = replace(ABOUT, places=Places(dataset=str(folder), tag="run-1"))
        write_dataset_card(folder, configs, write_configs(folder, configs), lineage, about)
        code = re.search(r"```python\n(.*?)\n```", DatasetCard.load(folder / "README.md").text, re.DOTALL)[1]
        assert len(code.splitlines()) == 3
        environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
        )
        assert found.returncode == 0, found.stderr
        assert "'row_id': 'a'" in found.stdout


class TestText:
    def test_says_what_each_step_read_and_with_which_settings(self, card, lineage):
        text = card().text
        for record in lineage:
            assert f"**{record.step}** (version 1, fingerprint `{record.fingerprint}`)" in text
        assert "on dataset `data/rows.jsonl`, completions `done.jsonl`; oracle `recorded`," in text
        assert "on the result of reflect, model `models/tiny-student`; scores `ifd`, template `vicuna`," in text
        assert "run/reflect" not in text  # where a step's result lay is nobody's business
        assert "strategy `selective (require_reflected_response false)`." in text
        assert "limit `" not in text  # a setting that is null was not set

    def test_links_what_came_from_the_hub_at_its_commit(self, card, lineage):
        page = f"[`tatsu-lab/alpaca`](https://huggingface.co/datasets/tatsu-lab/alpaca/tree/{COMMIT}) at `{COMMIT}`"
        assert f"dataset {page}, completions" in card(records=on_hub(lineage)).text

    def test_repositories_of_a_run_link_one_another_on_the_hub(self, card):
        places = Places("me/rows", "me/rows-statistics", "me/model", tag="run-1")
        text = card(places=places).text
        assert "[`me/rows-statistics`](https://huggingface.co/datasets/me/rows-statistics)" in text
        assert "[`me/model`](https://huggingface.co/me/model)" in text
        assert 'load_dataset("me/rows", "selected", revision="run-1", split="train")' in text

    def test_local_folders_are_not_linked_and_have_no_tag(self, card):
        text = card(places=Places("./out/dataset", "./out/statistics", tag="run-1")).text
        assert "huggingface.co" not in text
        assert 'load_dataset("./out/dataset", "selected", split="train")' in text

    def test_counts_and_statistics_stand_in_tables(self, card):
        text = card().text
        for name, size in (("selected", "3"), ("original", "4"), ("reflect_response", "4")):
            assert table_rows(text, f"`{name}`")[0][1] == size
        assert table_rows(text, "refusal") == [["refusal", "1"]]
        assert table_rows(text, "empty_output")[0][:3] == ["empty_output", "2", "0"]
        assert table_rows(text, "reflect_response") == [["reflect_response", "2", "2"]]  # select: won, kept
        assert table_rows(text, "IFD") == [["IFD", "–", "0.500"]]
        assert table_rows(text, "unscored") == [["unscored", "1"]]
        assert "3 of 4 rows were kept." in text
        assert (
            "Of 4 pairs, 3 stand as the oracle wrote them. 1 fell back to their parent row, unchanged: 1 `refusal`."
            in text
        )

    def test_reasons_are_explained_where_the_record_does(self, card, lineage):
        counts = {**lineage[2].counts, "meanings": {"unscored": "no <number> | none"}}
        text = card(records=[*lineage[:2], replace(lineage[2], counts=counts)]).text
        assert "| unscored | 1 | no &lt;number> \\| none |" in text

    def test_every_column_is_explained_with_its_nulls(self, card, configs):
        text = card().text
        for name in ("row_id", "source_id", "reflect_status", "ifd_ppl", "prompt"):
            (cells,) = table_rows(text, f"`{name}`")
            assert cells[1] in ("string", "float64") and len(cells[4]) > 10
        nulls = sum(rows["ifd_ppl"][:].count(None) for rows in configs.values())
        assert table_rows(text, "`ifd_ppl`")[0][3] == f"{nulls} of 11"
        assert table_rows(text, "`row_id`")[0][3] == "–"
        assert table_rows(text, "`loss_Q_direct`") == []  # these configs do not have it

    def test_columns_of_the_ledger_and_of_the_source_are_explained(self, card):
        rows = Dataset.from_dict({"row_id": ["a"], "ifd_ppl_reflect_both": [0.5], "category": ["x"]})
        text = card(configs={"selected": rows}).text
        assert COLUMNS_BY_NAME["ifd_ppl"].meaning in table_rows(text, "`ifd_ppl_reflect_both`")[0][4]
        assert table_rows(text, "`category`")[0][4] == "a column of the source, as it was there"

    def test_steps_that_were_not_run_have_no_section(self, card, lineage, scored):
        text = card(records=lineage[:1], configs=dict(scored)).text
        assert "## Reflection" in text
        assert not any(
            part in text for part in ("## Scores", "## Selection", "Selective Reflection-Tuning]", "were kept")
        )
        assert 'load_dataset("' in text and '"original", split="train")' in text

    def test_of_a_selection_alone_describes_its_ledger(self, card, selection):
        text = card(configs=dict(selection)).text
        assert table_rows(text, "`selected`")[0] == ["`selected`", "3", "the kept rows"]
        assert table_rows(text, "`decisions`")[0][1] == "4"
        assert "4 instruction pairs of `data/rows.jsonl`" in text

    def test_of_rows_that_nobody_rewrote(self, card, lineage, scored):
        score = replace(lineage[1], inputs={**lineage[1].inputs, "dataset": Source("file", "rows.jsonl", "f")})
        text = card(records=[score], configs={"original": scored["original"]}).text
        assert "Instruction pairs of `rows.jsonl`, scored by `models/tiny-student`." in text
        assert "its terms of use" not in text and "## Reflection" not in text

    def test_scores_of_a_run_that_rewrote_rows_do_not_make_these_ones_rewritten(self, card, lineage, scored):
        inputs = {"dataset": Source("file", "mine.jsonl", "f"), "statistics": Source("folder", "theirs", "g")}
        records = [*lineage[:2], replace(lineage[2], inputs=inputs)]
        plain = scored["original"].remove_columns(["reflection", "reflect_status"])
        text = card(records=records, configs={"selected": plain}).text
        assert "Instruction pairs of `mine.jsonl`, scored by `models/tiny-student`, selected by selective" in text
        assert "- Source: `mine.jsonl`, 4 rows read\n" in text
        assert "## Reflection" not in text and "its terms of use" not in text and "li2023reflection" not in text
        assert "trusts the numbers of `theirs`" in text
        assert "**reflect** (version 1" in text  # the lineage is whole all the same

    def test_selection_that_kept_only_originals_has_no_oracle(self, card, configs):
        originals = {"selected": configs["selected"].filter(lambda row: row["variant"] == "original")}
        assert "reflect_status" in originals["selected"].column_names
        text = card(configs=originals, prompts={"response": "Be picky."}).text
        assert "Instruction pairs of `data/rows.jsonl`, scored by `models/tiny-student`, selected by selective" in text
        assert "recycled by" not in text and "its terms of use" not in text and "picky" not in text
        assert "an oracle (recorded completions)\ncriticised and rewrote them" in card().text

    def test_publishing_is_no_step_of_how_the_rows_were_made(self, card, lineage):
        publish = StepRecord("publish", 4, {"title": "old"}, {"score": Source("folder", "run/score", "x")})
        assert card(records=[publish, *lineage]).text == card().text

    def test_what_was_scored_again_is_not_called_selected(self, card, lineage, scored):
        text = card(records=[*lineage, lineage[1]], configs=dict(scored)).text
        assert "## Selection" not in text and "were kept" not in text and "chose among" not in text
        assert "**select** (version 1" in text

    def test_shows_the_prompts_whole(self, card):
        text = card(prompts={"response": "system: be picky\n\n```\n{{ x }} <b>\n```"}).text
        assert "<summary>Prompt: response</summary>" in text
        assert "````text\nsystem: be picky\n\n```\n{{ x }} <b>\n```\n````\n" in text

    def test_shows_the_plots_that_are_there(self, card, tmp_path):
        assert "![" not in card().text
        (tmp_path / "plots").mkdir()
        for name in ("distributions.png", "selection_flow.png", "notes.png"):
            (tmp_path / "plots" / name).write_bytes(b"")
        found = re.findall(r"!\[[^]]+\]\(([^)]+)\)", card().text)
        assert found == ["plots/distributions.png", "plots/selection_flow.png"]

    def test_captions_say_what_is_drawn(self, card, tmp_path, lineage):
        (tmp_path / "plots").mkdir()
        for name in ("distributions.png", "ifd_against_rifd.png"):
            (tmp_path / "plots" / name).write_bytes(b"")

        def captions(records):
            return re.findall(r"!\[([^]]+)\]", card(records=records).text)

        before, ratios = "What the rows are like, before and after the selection", "IFD against r-IFD of every pair"
        assert captions(lineage) == [
            before,
            f"{ratios}; where both are below 1, `selective` keeps the version that won",
        ]
        counts = {**lineage[2].counts, "steps": [{"step": "cherry", "rows": 4, "kept": 3}]}
        cherry = replace(lineage[2], counts=counts, config={"strategy": [{"name": "cherry", "fraction": 0.5}]})
        assert captions([*lineage[:2], cherry]) == [before, ratios]
        assert captions(lineage[:2]) == ["What the rows are like, by variant", ratios]

    def test_says_what_the_oracle_has_cost(self, card, lineage):
        usage = {"completions": 288, "without_usage": 0, "prompt_tokens": 140_000, "completion_tokens": 180_000}
        price = {"input": 0.4, "output": 1.6, "source": "the table of 2026-06"}
        counts = {**lineage[0].counts, "usage": {**usage, "cost_usd": 0.344, "usd_per_million_tokens": price}}
        config = {**lineage[0].config, "oracle": "openai", "oracle_model": "gpt-4.1-mini"}
        assert "What the oracle's completions took was not recorded." in card().text
        text = card(records=[replace(lineage[0], counts=counts, config=config), *lineage[1:]]).text
        assert (
            "Made from 288 completions of `gpt-4.1-mini`: 140,000 tokens in, 180,000 tokens out, $0.34 at $0.4" in text
        )
        assert table_rows(text, "score") == [["score", "1 min"]]

    @pytest.mark.parametrize(
        ("own", "source", "said"),
        [
            ("mit", "mit", "`mit`, passed on from the source, whose card states it."),
            ("mit", "cc-by-4.0", "The source's own card states `cc-by-4.0`: heed both."),
            ("mit", None, "`mit`, as given by who published this; no statement of the source's own was found."),
            (["mit", "gpl-3.0"], ["mit", "gpl-3.0"], "`mit, gpl-3.0`, passed on"),
        ],
    )
    def test_names_both_licences_where_they_differ(self, own, source, said, card):
        written = card(license=own, source_licence=source)
        assert said in written.text
        assert written.data.license == own
        assert "output of the oracle's model: its terms of use apply" in written.text

    def test_name_and_link_of_another_licence_are_passed_on(self, card):
        other = {"license_name": "llama2", "license_link": "https://example.org/l"}
        assert other.items() <= card(license="other", **other).data.to_dict().items()
        assert not other.keys() & card(license="mit", **other).data.to_dict().keys()

    def test_ends_with_its_owners_section(self, card):
        assert card().text.endswith(f"\n\n{EMPTY_SECTION}\n")

    def test_paragraphs_are_one_blank_line_apart(self, card, lineage, scored, selection):
        for written in (
            card(),
            card(records=lineage[:1], configs=dict(scored)),
            card(configs=dict(selection), notes=""),
        ):
            assert "\n\n\n" not in written.text
            assert not re.search(r"[^\n]\n(#|```python|\|[^\n]*\|\n\| ---)", written.text)


AWKWARD = st.text(st.sampled_from("a|\n\r`<>!-#{}[]%\"':\\*_&🦜é\x00\u2028 "), max_size=12) | st.sampled_from(
    ["---", "\n---\n", "{{ x }}", "{% if %}", "<!-- ", "```", "<b>", "| a |", "\ud800", "null", "- a: b", EMPTY_SECTION]
)
PHASES = [Phase.explicit, Phase.generate]  # shrinking would take minutes


class TestAwkwardTexts:
    @settings(
        max_examples=25, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @example(title="<!-- ", notes="```\n<!-- ", path="<!-- `", reason="a\\|b\n", prompt=EMPTY_SECTION)
    @given(title=AWKWARD.filter(str.strip), notes=AWKWARD, path=AWKWARD, reason=AWKWARD, prompt=AWKWARD)
    def test_break_neither_metadata_nor_tables(self, card, lineage, title, notes, path, reason, prompt):
        configs = {"selected": Dataset.from_dict({"row_id": ["a"], "variant": ["reflect_response"]})}
        usual = card(configs=configs)
        first = replace(lineage[0], inputs={"dataset": Source("file", path, "f")})
        counts = {**lineage[2].counts, "select_reason": {reason: 1}}
        records = [first, lineage[1], replace(lineage[2], counts=counts)]
        written = card(records=records, configs=configs, title=title, notes=notes, prompts={title: prompt})
        assert written.data.configs == usual.data.configs
        lines = written.text.splitlines()
        headings = [line for line in usual.text.splitlines() if line.startswith("## ")]
        assert [line for line in lines if line in headings] == headings
        prose = re.sub(r"(?s)^(`{3,})text\n.*?\n\1$", "", written.text.removesuffix(f"{EMPTY_SECTION}\n"), flags=re.M)
        assert "<!--" not in re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", prose)  # in code it is no comment
        table = lines[lines.index(next(line for line in lines if line.startswith("| outcome | rows"))) :][:4]
        bars = [len(re.sub(r"\\.", "", line).split("|")) for line in table]
        assert bars == [4, 4, 4, 4]


class TestStatisticsCard:
    @pytest.fixture
    def write(self, tmp_path, scored, lineage):
        student = Source("hub", "meta-llama/Llama-2-7b-hf", "x", COMMIT)
        records = [lineage[0], replace(lineage[1], inputs={**lineage[1].inputs, "model": student})]
        configs = {name: rows.select_columns(["row_id", "ifd_ppl"]) for name, rows in scored.items()}

        def make(**about):
            write_statistics_card(tmp_path, configs, write_configs(tmp_path, configs), records, replace(ABOUT, **about))
            return DatasetCard.load(tmp_path / "README.md")

        return make

    def test_names_the_model_and_how_it_read_the_rows(self, write):
        text = write().text
        link = f"[`meta-llama/Llama-2-7b-hf`](https://huggingface.co/meta-llama/Llama-2-7b-hf/tree/{COMMIT})"
        for name, value in (
            ("model", f"{link} at `{COMMIT}`"),
            ("prompt template", "`vicuna`"),
            ("tokens kept of a prompt and its response", "512"),
            ("target tokens (span)", "`published`"),
            ("texts", "`data/rows.jsonl`"),
        ):
            assert table_rows(text, name) == [[name, value]]
        assert table_rows(text, "`original`")[0] == ["`original`", "4", "scores of the pairs as they were"]

    def test_says_how_to_select_by_them_and_how_to_verify_them(self, write):
        text = write(places=Places(dataset="me/rows", statistics="me/it's")).text
        read = """--dataset me/rows --statistics 'me/it'"'"'s'"""
        assert f"python recipes/select_rows.py {read} --strategy selective\n" in text
        assert f"python recipes/verify_statistics.py {read} \\\n" in text
        assert "--model_name_or_path meta-llama/Llama-2-7b-hf --template vicuna --max_length 512\n" in text

    def test_metadata_name_the_scorer_and_the_columns(self, write, tmp_path):
        data = write().data
        assert data.pretty_name == "A title: scores by Llama-2-7b-hf"
        rows = load_dataset(str(tmp_path), "reflect_response", split="train", cache_dir=str(tmp_path / "cache"))
        assert rows["ifd_ppl"][:] == [0.75, None, 0.5, 0.25]

    def test_its_example_loads_them(self, write, tmp_path, monkeypatch):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        code = re.search(r"```python\n(.*?)\n```", write().text, re.DOTALL)[1]
        found: dict = {}
        exec(code, found)
        assert found["scores"].column_names == ["row_id", "ifd_ppl"]

    def test_keeps_the_same_rules_as_the_data_sets(self, write):
        text = write().text
        assert "\n\n\n" not in text and text.endswith(f"{EMPTY_SECTION}\n")
        assert "## Selection" not in text and "hold for `meta-llama/Llama-2-7b-hf`" in text
        assert not Path("plots").exists()
