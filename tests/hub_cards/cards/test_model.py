"""The model's card: metadata that the Hub accepts, its evaluation as a model index, and an example that runs."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from hub_cards.cards.about import About, Places
from hub_cards.cards.model import EXAMPLE_QUESTION, copy_report, evaluation_results, write_model_card
from hub_cards.cards.own_section import EMPTY_SECTION
from hub_cards.sources import Source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ABOUT = About(title="A model", license="cc-by-nc-4.0", notes="A note.", language=["en"])


def model_card(folder, records, about=None, **options):
    write_model_card(folder, records, about, **options)
    return ModelCard.load(folder / "README.md")


def table_rows(text: str, first_cell: str) -> list[list[str]]:
    """The cells of the table lines whose first cell is this."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [cells for cells in lines if cells[0] == first_cell]


class TestModelCard:
    def test_local_base_model_is_not_named_as_one_on_the_hub(self, tmp_path, lineage, sft_record):
        card = model_card(tmp_path, [*lineage, sft_record], ABOUT)
        assert metadata_load(tmp_path / "README.md") == {
            "language": ["en"],
            "license": "cc-by-nc-4.0",
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["reflection-tuning", "sft", "trl"],
        }
        assert "# A model\n" in card.text
        assert "`models/tiny-student` fine-tuned by TRL's SFTTrainer on 3 instruction pairs" in card.text
        assert "\n> A note.\n" in card.text
        assert "`cc-by-nc-4.0`, as given by who published this" in card.text
        assert "The terms of the model that it was trained from apply as well." in card.text

    def test_base_model_and_data_from_the_hub_are_linked(self, tmp_path, lineage, sft_record):
        base = Source("hub", "meta-llama/Llama-2-7b-hf", "x", COMMIT)
        data = Source("hub", "tatsu-lab/alpaca", "y", COMMIT)
        lineage[0] = replace(lineage[0], inputs={"dataset": data})
        sft = replace(sft_record, inputs={**sft_record.inputs, "model": base})
        card = model_card(tmp_path, [*lineage, sft])
        assert card.data.base_model == "meta-llama/Llama-2-7b-hf"
        assert card.data.to_dict()["base_model_relation"] == "finetune"
        assert card.data.datasets == ["tatsu-lab/alpaca"]
        assert (
            f"[`meta-llama/Llama-2-7b-hf`](https://huggingface.co/meta-llama/Llama-2-7b-hf/tree/{COMMIT})" in card.text
        )
        published = replace(ABOUT, places=Places(dataset="me/rows", statistics="me/rows-statistics"))
        card = model_card(tmp_path, [*lineage, sft], published)
        assert card.data.datasets == ["me/rows"]
        assert "The data: [`me/rows`](https://huggingface.co/datasets/me/rows)." in card.text

    def test_names_the_data_set_on_the_hub_that_it_was_trained_on(self, tmp_path, lineage, sft_record):
        lineage[0] = replace(lineage[0], inputs={"dataset": Source("hub", "tatsu-lab/alpaca", "y", COMMIT)})
        mine = Source("hub", "tester/mine", f"tester/mine@{COMMIT}", COMMIT)
        sft = replace(sft_record, inputs={**sft_record.inputs, "dataset": mine})
        link = f"[`tester/mine`](https://huggingface.co/datasets/tester/mine/tree/{COMMIT}) at `{COMMIT}`"
        for about in (None, replace(ABOUT, places=Places(model="tester/model", tag="run-1"))):
            card = model_card(tmp_path, [*lineage, sft], about)
            assert card.data.datasets == ["tester/mine"]
            assert f"Prompt template: `vicuna`. The data: {link}.\n" in card.text
        assert f"{link}" in model_card(tmp_path, [sft]).text

    def test_variant_of_a_published_set_was_not_selected(self, tmp_path, lineage, sft_record):
        def text(**config):
            sft = replace(sft_record, config={**sft_record.config, **config})
            return model_card(tmp_path, [*lineage, sft]).text

        said = ("Selective Reflection-Tuning", "its terms of use apply")
        assert [one in text() for one in said] == [True, True]
        assert [one in text(dataset_config="selected") for one in said] == [True, True]
        assert [one in text(dataset_config="reflect_response") for one in said] == [False, True]
        assert [one in text(dataset_config="original") for one in said] == [False, False]
        assert "**select**" not in text(dataset_config="original")

    def test_selection_that_kept_only_originals_has_no_oracle(self, tmp_path, lineage, sft_record):
        branches = {"original": {"won": 3, "kept": 3}, "reflect_response": {"won": 1, "kept": 0}}
        select = replace(lineage[2], counts={**lineage[2].counts, "branches": branches})
        text = model_card(tmp_path, [*lineage[:2], select, sft_record]).text
        assert "its terms of use apply" not in text and "li2023reflection" not in text
        assert "**select**" in text

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
        assert "- Rows without room for their response, which took no part: 1.\n" in text
        assert table_rows(text, "rows cut to fit") == []  # not counted then
        assert "Prompt template: `vicuna`." in text
        for record in lineage:
            assert f"**{record.step}** (fingerprint `{record.fingerprint}`)" in text

    def test_training_on_plain_data_speaks_of_no_selection(self, tmp_path, sft_record):
        card = model_card(tmp_path, [sft_record])
        assert "Selective Reflection-Tuning" not in card.text
        assert "None is known: no statement of the source's own was found." in card.text
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
        assert "`cc-by-nc-4.0`, passed on from the source, whose card states it." in card.text
        assert model_card(tmp_path, [sft], ABOUT).text.endswith(f"\n\n{EMPTY_SECTION}\n")


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

            def pipeline(task, model, revision=None):
                return lambda prompt, **_settings: (
                    calls.append((task, model, revision, prompt)) or [{"generated_text": "Sleep."}]
                )

            monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(pipeline=pipeline))
            exec(code, {})
            return calls

        return run

    def test_asks_in_the_template(self, asked):
        prompt = 'A "quoted"\n\\ prompt USER: {{ what }}? ASSISTANT:'
        assert asked(prompt=prompt) == [("text-generation", ".", None, prompt)]

    def test_asks_a_chat_model_by_messages(self, asked):
        places = Places(model="me/model", tag="run-1")
        ((_, *place, prompt),) = asked(template="chat_template", about=replace(ABOUT, places=places))
        assert place == ["me/model", "run-1"]
        assert prompt == [{"role": "user", "content": EXAMPLE_QUESTION}]

    def test_says_what_belongs_there_where_no_prompt_is_given(self, asked):
        assert asked()[0][3] == "<a question in the template vicuna>"


class TestEvaluation:
    @pytest.fixture
    def card(self, tmp_path, lineage, sft_record, evaluate_record):
        return model_card(
            tmp_path, [*lineage, sft_record], replace(ABOUT, title="A | model"), evaluation=evaluate_record
        )

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
        assert "chen2023alpagasus" in card.text and "\n\n\n" not in card.text
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
        assert "judge" not in card.text and "harness" not in card.text and "alpagasus" not in card.text
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
