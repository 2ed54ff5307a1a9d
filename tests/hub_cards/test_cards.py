"""The cards: metadata that the Hub accepts, and a text that says how the data and the model were made."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from datasets import Dataset
from huggingface_hub import DatasetCard, ModelCard, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from hub_cards.cards import (
    EXAMPLE_QUESTION,
    copy_report,
    evaluation_results,
    write_dataset_card,
    write_model_card,
    write_statistics_card,
)
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
        assert "Rows without room for their completion, which took no part: 1." in text
        assert table_rows(text, "rows cut to fit") == []  # not counted then
        assert "Prompt template: `vicuna`." in text
        for record in lineage:
            assert f"**{record.step}** (fingerprint `{record.fingerprint}`)" in text

    def test_training_on_plain_data_speaks_of_no_selection(self, tmp_path, sft_record):
        card = model_card(tmp_path, [sft_record])
        assert "Selective Reflection-Tuning" not in card.text
        assert "## Licence" not in card.text
        assert "license" not in metadata_load(tmp_path / "README.md")

    def test_counts_of_any_kind_are_rows_of_the_table_and_null_ones_are_none(self, tmp_path, lineage, sft_record):
        counts = {**sft_record.counts, "rows_cut": 1200, "global_batch_size": 128, "tokens": 3_456_789, "resumed": None}
        counts |= {"device": "cpu", "read": {"format": "alpaca", "skipped": 2}, "train_loss": None}
        config = {**sft_record.config, "lora_target_modules": ["q_proj", "v_proj"], "report_to": "a|b\nc", "seed": None}
        text = model_card(tmp_path, [*lineage, replace(sft_record, counts=counts, config=config)]).text
        for name, value in (
            ("rows cut to fit", "1,200"),
            ("global batch size", "128"),
            ("tokens", "3,456,789"),
            ("device", "cpu"),
            ("read", "format alpaca, skipped 2"),
            ("`lora_target_modules`", "q_proj, v_proj"),
        ):
            assert table_rows(text, name) == [[name, value]]
        assert "| `report_to` | a\\|b c |" in text
        assert table_rows(text, "resumed") == table_rows(text, "`seed`") == []
        assert table_rows(text, "mean training loss (nats a token)") == []
        assert "Rows cut to fit the length limit: 1,200. Rows without room" in text

    def test_merged_adapter_is_named(self, tmp_path, sft_record):
        sft = replace(sft_record, config={**sft_record.config, "use_peft": True})
        assert "An adapter was trained, and is merged into these weights.\n" in model_card(tmp_path, [sft]).text
        (tmp_path / "adapter").mkdir()
        assert "merged into these weights; it lies by itself in `adapter/`." in model_card(tmp_path, [sft]).text

    def test_licence_of_the_data_is_found_where_its_card_names_one(self, tmp_path, sft_record):
        data = tmp_path / "data"
        data.mkdir()
        (data / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Rows\n")
        sft = replace(sft_record, inputs={**sft_record.inputs, "dataset": Source("folder", str(data), "f")})
        card = model_card(tmp_path, [sft])
        assert card.data.license == "cc-by-nc-4.0"
        assert "`cc-by-nc-4.0`, passed on from the data." in card.text
        assert model_card(tmp_path, [sft], license="mit").data.license == "mit"


class TestExample:
    """The lines of use, run with a stub in the place of `transformers`."""

    @pytest.fixture
    def asked(self, tmp_path, lineage, sft_record, monkeypatch):
        def run(**options):
            template = options.pop("template", "vicuna")
            sft = replace(sft_record, config={**sft_record.config, "template": template})
            text = model_card(tmp_path, [*lineage, sft], **options).text
            code = text.split("```python\n")[1].split("```")[0]
            assert len(code.splitlines()) == 3
            calls = []

            def pipeline(task, model):
                return lambda prompt, **_settings: calls.append((task, model, prompt)) or [{"generated_text": "Sleep."}]

            monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(pipeline=pipeline))
            exec(code, {})
            return calls

        return run

    def test_asks_in_the_template(self, asked):
        prompt = 'A "quoted"\n\\ prompt USER: {{ what }}? ASSISTANT:'
        assert asked(prompt=prompt) == [("text-generation", "<this repository or folder>", prompt)]

    def test_asks_a_chat_model_by_messages(self, asked):
        ((_, _, prompt),) = asked(template="chat_template")
        assert prompt == [{"role": "user", "content": EXAMPLE_QUESTION}]

    def test_says_what_belongs_there_where_no_prompt_is_given(self, asked):
        assert asked()[0][2] == "<a question in the template vicuna>"


class TestEvaluation:
    @pytest.fixture
    def card(self, tmp_path, lineage, sft_record, evaluate_record):
        return model_card(tmp_path, [*lineage, sft_record], title="A | model", evaluation=evaluate_record)

    def test_tables_hold_the_comparisons_and_the_benchmarks(self, card):
        said = "Compared with the answers of `runs/random/sft` by the judge `gpt-4`, asked twice"
        assert said in card.text
        vicuna, answers = table_rows(card.text, "vicuna")
        counts = ["78", "40", "8", "30", "2", "1.128", "0.910 to 1.340", "0.282", "56.4 %", "53.1 %", "1,234", "987"]
        assert vicuna == ["vicuna", *counts]
        assert answers == ["vicuna", "78", "2", "0"]
        assert table_rows(card.text, "koala")[0] == ["koala", "0", "0", "0", "0", "252", *["–"] * 7]
        assert table_rows(card.text, "arc_challenge") == [
            ["arc_challenge", "open_llm_leaderboard_v1", "acc_norm", "0.531", "0.015", "25", "1.0", "1,172"]
        ]
        assert table_rows(card.text, "gsm8k")[0][-1] == "20 of 1,319"
        assert "template `vicuna`, max_new_tokens `512`, judge `gpt-4`, benchmarks `gsm8k`." in card.text

    def test_metadata_is_a_model_index_that_the_hub_reads_back(self, card, tmp_path, evaluate_record):
        results = evaluation_results(evaluate_record)
        assert card.data.model_name == "A | model"
        assert card.data.eval_results == results
        index = metadata_load(tmp_path / "README.md")["model-index"]
        assert index == eval_results_to_model_index("A | model", results)
        assert model_index_to_eval_results(index) == ("A | model", results)
        assert index[0]["results"][0] == {
            "task": {"type": "text-generation"},
            "dataset": {"name": "allenai/ai2_arc", "type": "allenai/ai2_arc"},
            "metrics": [{"type": "acc_norm", "value": 0.5312, "name": "arc_challenge, acc_norm, 25-shot"}],
            "source": {
                "name": "lm-evaluation-harness",
                "url": "https://github.com/EleutherAI/lm-evaluation-harness",
            },
        }

    def test_metadata_says_what_each_number_is(self, evaluate_record):
        values = {(one.dataset_type, one.metric_type): one for one in evaluation_results(evaluate_record)}
        judged = values["vicuna", "win_score"]
        assert judged.metric_value == 1.1282
        assert judged.metric_name == "win score, 0 to 2, against runs/random/sft, judged by gpt-4, 78 pairs"
        assert values["total", "length_controlled_win_rate"].metric_value == 0.5312
        assert values["openai/gsm8k", "exact_match"].metric_name.endswith("5-shot, on 20 of 1,319 questions")
        assert values["open_llm_leaderboard_v1", "mean"].metric_value == 0.4
        assert not any(questions == "koala" for questions, _ in values)  # nothing of it is known

    def test_what_two_suites_share_is_listed_once(self, evaluate_record):
        benchmarks = evaluate_record.counts["benchmarks"]
        twice = [*benchmarks, {**benchmarks[0], "suite": "other"}, {**benchmarks[0], "task": "x", "value": None}]
        found = evaluation_results(replace(evaluate_record, counts={"benchmarks": twice}))
        assert [one.dataset_type for one in found] == ["allenai/ai2_arc", "openai/gsm8k", "open_llm_leaderboard_v1"]

    def test_names_cannot_break_a_table(self, tmp_path, sft_record, evaluate_record):
        counts = {"judge": {"a|b\nc\\|d": evaluate_record.counts["judge"]["vicuna"]}}
        text = model_card(tmp_path, [sft_record], evaluation=replace(evaluate_record, counts=counts)).text
        assert "\n| a\\|b c\\\\\\|d | 78 |" in text

    def test_without_a_judge_there_is_no_word_of_one(self, tmp_path, sft_record, evaluate_record):
        record = replace(evaluate_record, counts={"answers": {"vicuna": {"ok": 80}}}, config={"template": "vicuna"})
        record.inputs.pop("baseline")
        card = model_card(tmp_path, [sft_record], evaluation=record)
        assert "## Evaluation" in card.text and table_rows(card.text, "vicuna") == [["vicuna", "80"]]
        assert "judge" not in card.text and "harness" not in card.text
        assert "model-index" not in metadata_load(tmp_path / "README.md")

    def test_without_an_evaluation_there_is_no_section(self, tmp_path, sft_record):
        assert "## Evaluation" not in model_card(tmp_path, [sft_record]).text

    def test_report_and_chart_are_shown_where_they_are(self, tmp_path, sft_record, evaluate_record):
        stage, folder = tmp_path / "evaluate", tmp_path / "model"
        stage.mkdir()
        folder.mkdir()
        copy_report(stage, folder)
        assert not (folder / "evaluation").exists()
        assert "evaluation/" not in model_card(folder, [sft_record], evaluation=evaluate_record).text
        for name in ("report.md", "chart.svg", "results.json"):
            (stage / name).write_text(name)
        copy_report(stage, folder)
        assert sorted(path.name for path in (folder / "evaluation").iterdir()) == ["chart.svg", "report.md"]
        text = model_card(folder, [sft_record], evaluation=evaluate_record).text
        assert "![wins, ties and losses](evaluation/chart.svg)" in text and "](evaluation/report.md)" in text
