"""The cards: metadata that the Hub accepts, and a text that says how the data and the model were made."""

from dataclasses import replace

import pytest
from datasets import Dataset
from huggingface_hub import DatasetCard, ModelCard, metadata_load

from hub_cards.cards import write_dataset_card, write_model_card, write_statistics_card
from hub_cards.sources import Source

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def configs(scored, selection):
    return {"selected": selection["selected"].add_column("prompt", ["p"] * 3), **scored}


def dataset_card(folder, configs, records, license="cc-by-nc-4.0", title="A title", notes="Some notes."):
    patterns = {name: f"{name}/train-*.parquet" for name in configs}
    write_dataset_card(folder, configs, patterns, records, license, title, notes)
    return DatasetCard.load(folder / "README.md")


def model_card(folder, records, **options):
    write_model_card(folder, records, **options)
    return ModelCard.load(folder / "README.md")


def table_rows(text: str, first_cell: str) -> list[list[str]]:
    """The cells of the table lines whose first cell is this."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [cells for cells in lines if cells[0] == first_cell]


class TestDatasetMetadata:
    def test_is_yaml_that_names_every_config_and_one_default(self, tmp_path, configs, lineage):
        dataset_card(tmp_path, configs, lineage)
        assert metadata_load(tmp_path / "README.md") == {
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
                {
                    "config_name": "original",
                    "data_files": [{"split": "train", "path": "original/train-*.parquet"}],
                },
                {
                    "config_name": "reflect_response",
                    "data_files": [{"split": "train", "path": "reflect_response/train-*.parquet"}],
                },
            ],
        }

    @pytest.mark.parametrize("title", ["Quick: 96 rows", 'The "best" #1', "yes", "- Größe 🦜", "{a}", "---"])
    def test_title_of_any_kind_stays_itself(self, title, tmp_path, configs, lineage):
        card = dataset_card(tmp_path, configs, lineage, title=title)
        assert card.data.pretty_name == title
        assert f"\n# {title}\n" in card.text

    @pytest.mark.parametrize(
        ("rows", "size"), [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (9_999, "1K<n<10K"), (10_000, "10K<n<100K")]
    )
    def test_size_is_that_of_the_largest_config(self, rows, size, tmp_path, lineage):
        configs = {name: Dataset.from_dict({"row_id": ["x"] * count}) for name, count in (("selected", 1), ("a", rows))}
        assert dataset_card(tmp_path, configs, lineage).data.size_categories == [size]


class TestDatasetCard:
    def test_says_what_each_step_read_and_with_which_settings(self, tmp_path, configs, lineage):
        text = dataset_card(tmp_path, configs, lineage).text
        for record in lineage:
            assert f"**{record.step}** (version 1, fingerprint `{record.fingerprint}`)" in text
        assert "on dataset `data/rows.jsonl`, completions `done.jsonl`; oracle `recorded`," in text
        assert "scores `ifd`, template `vicuna`, dtype `float32`, max_length `512`, span `published`." in text
        assert "strategy `selective (require_reflected_response false)`." in text
        assert "limit" not in text  # a setting that is null was not set

    def test_names_the_commit_of_what_came_from_the_hub(self, tmp_path, configs, lineage):
        source = Source("hub", "tatsu-lab/alpaca", f"tatsu-lab/alpaca@{COMMIT}", COMMIT)
        lineage[0] = replace(lineage[0], inputs={"dataset": source})
        assert f"dataset `tatsu-lab/alpaca` at `{COMMIT}`;" in dataset_card(tmp_path, configs, lineage).text

    def test_counts_and_statistics_stand_in_tables(self, tmp_path, configs, lineage):
        text = dataset_card(tmp_path, configs, lineage).text
        for name, size in (("selected", "3"), ("original", "4"), ("reflect_response", "4")):
            assert table_rows(text, f"`{name}`")[0][1] == size
        assert table_rows(text, "reflect_response") == [
            ["reflect_response", "3", "1"],  # reflect: ok, refusal
            ["reflect_response", "3", "0", "1"],  # score: ok, empty_output, error
            ["reflect_response", "2", "2"],  # select: won, kept
        ]
        assert table_rows(text, "IFD") == [["IFD", "–", "0.500"]]
        assert table_rows(text, "unscored") == [["unscored", "1"]]
        assert "By selective (require_reflected_response false): 3 of 4 rows kept." in text

    def test_every_published_column_of_the_contract_is_explained(self, tmp_path, configs, lineage):
        text = dataset_card(tmp_path, configs, lineage).text
        for name in ("row_id", "source_id", "reflect_status", "ifd_ppl", "prompt"):
            (cells,) = table_rows(text, f"`{name}`")
            assert cells[1] in ("string", "float64")
            assert len(cells[3]) > 10
        assert table_rows(text, "`loss_Q_direct`") == []  # these configs do not have it

    def test_licence_and_notes_are_in_the_text(self, tmp_path, configs, lineage):
        text = dataset_card(tmp_path, configs, lineage, license="apache-2.0", notes="Not for {{ any }} claim.").text
        assert "`apache-2.0`, of the data it was made from" in text
        assert "\nNot for {{ any }} claim.\n" in text

    def test_steps_that_were_not_run_have_no_section(self, tmp_path, configs, lineage):
        text = dataset_card(tmp_path, configs, lineage[:1]).text
        assert "### Reflection" in text
        assert "### Scores" not in text
        assert "### Selection" not in text
        assert "Selective Reflection-Tuning](" not in text

    def test_says_what_the_oracle_has_cost(self, tmp_path, configs, lineage):
        usage = {"completions": 288, "without_usage": 0, "prompt_tokens": 140_000, "completion_tokens": 180_000}
        price = {"input": 0.4, "output": 1.6, "source": "the table of 2026-06"}
        counts = {**lineage[0].counts, "usage": {**usage, "cost_usd": 0.344, "usd_per_million_tokens": price}}
        config = {**lineage[0].config, "oracle": "openai", "oracle_model": "gpt-4.1-mini"}
        assert "Made from" not in dataset_card(tmp_path, configs, lineage).text
        lineage[0] = replace(lineage[0], counts=counts, config=config)
        said = "Made from 288 completions of `gpt-4.1-mini`: 140,000 tokens in, 180,000 tokens out, $0.34 at $0.4 in"
        assert said in dataset_card(tmp_path, configs, lineage).text


class TestStatisticsCard:
    @pytest.fixture
    def card(self, tmp_path, scored, lineage):
        student = Source("hub", "meta-llama/Llama-2-7b-hf", "x", COMMIT)
        lineage[1] = replace(lineage[1], inputs={**lineage[1].inputs, "model": student})
        configs = {name: rows.select_columns(["row_id", "ifd_ppl"]) for name, rows in scored.items()}
        patterns = {name: f"{name}/train-*.parquet" for name in configs}
        write_statistics_card(tmp_path, configs, patterns, lineage[:2], "cc-by-nc-4.0", "A title")
        return DatasetCard.load(tmp_path / "README.md")

    def test_names_the_model_and_how_it_read_the_rows(self, card):
        for name, value in (
            ("model", f"`meta-llama/Llama-2-7b-hf` at `{COMMIT}`"),
            ("prompt template", "`vicuna`"),
            ("tokens kept of a prompt and its response", "512"),
            ("target tokens (span)", "`published`"),
            ("texts", "`data/rows.jsonl`"),
            ("`original`", "4"),
        ):
            assert [name, value] in table_rows(card.text, name)

    def test_says_how_to_select_by_them_and_how_to_verify_them(self, card):
        assert "python recipes/select_rows.py --dataset " in card.text and " --statistics " in card.text
        assert '--model_name_or_path "meta-llama/Llama-2-7b-hf" --template vicuna --max_length 512' in card.text

    def test_metadata_lists_the_variants_and_no_default(self, card):
        assert [config["config_name"] for config in card.data.to_dict()["configs"]] == ["original", "reflect_response"]
        assert not any("default" in config for config in card.data.to_dict()["configs"])
        assert card.data.pretty_name == "A title: scores by Llama-2-7b-hf"


class TestModelCard:
    def test_local_base_model_is_not_named_as_one_on_the_hub(self, tmp_path, lineage, sft_record):
        options = {"license": "cc-by-nc-4.0", "title": "A model", "notes": "A note."}
        card = model_card(tmp_path, [*lineage, sft_record], **options)
        assert metadata_load(tmp_path / "README.md") == {
            "license": "cc-by-nc-4.0",
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["reflection-tuning", "sft", "trl"],
        }
        assert "# A model\n" in card.text
        assert "`models/tiny-student` fine-tuned by TRL's SFTTrainer on 3 instruction pairs" in card.text
        assert "\nA note.\n" in card.text
        assert "`cc-by-nc-4.0`, passed on from the data." in card.text

    def test_base_model_and_data_from_the_hub_are_linked(self, tmp_path, lineage, sft_record):
        base = Source("hub", "meta-llama/Llama-2-7b-hf", "x", COMMIT)
        data = Source("hub", "tatsu-lab/alpaca", "y", COMMIT)
        lineage[0] = replace(lineage[0], inputs={"dataset": data})
        sft = replace(sft_record, inputs={**sft_record.inputs, "model": base})
        card = model_card(tmp_path, [*lineage, sft])
        assert card.data.base_model == "meta-llama/Llama-2-7b-hf"
        assert card.data.datasets == ["tatsu-lab/alpaca"]

    def test_settings_and_outcome_of_the_training_stand_in_a_table(self, tmp_path, lineage, sft_record):
        text = model_card(tmp_path, [*lineage, sft_record]).text
        for name, value in (
            ("`max_steps`", "12"),
            ("`learning_rate`", "0.0001"),
            ("steps", "12"),
            ("epochs", "4.0"),
            ("mean training loss (nats a token)", "5.25"),
        ):
            assert table_rows(text, name) == [[name, value]]
        assert "1 rows had no room for their completion" in text
        assert "Prompt template: `vicuna`." in text
        for record in lineage:
            assert f"**{record.step}** (fingerprint `{record.fingerprint}`)" in text

    def test_training_on_plain_data_speaks_of_no_selection(self, tmp_path, sft_record):
        card = model_card(tmp_path, [sft_record])
        assert "Selective Reflection-Tuning" not in card.text
        assert "## Licence" not in card.text
        assert "license" not in metadata_load(tmp_path / "README.md")
