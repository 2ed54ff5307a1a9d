"""The overview from records: of a whole run, of parts of one, of none."""

from dataclasses import replace

import pytest

from hub_cards.provenance import StepRecord
from hub_cards.publishing.about_run import publish_record
from hub_cards.report.overview import Shown, facts_of, sections_of
from hub_cards.sources import Source


@pytest.fixture
def whole_run(lineage, sft_record, evaluate_record) -> list[StepRecord]:
    return [*lineage, sft_record, evaluate_record]


def by_title(shown: list[Shown]) -> dict[str, Shown]:
    assert len({one.title for one in shown}) == len(shown)
    return {one.title: one for one in shown}


class TestFacts:
    def test_of_a_whole_run(self, whole_run):
        facts = dict(facts_of(whole_run, 1234))
        assert list(facts) == ["Rows", "Source", "Oracle", "Student", "Selection", "Training", "Evaluation", "Time"]
        assert facts["Rows"] == "1,234"
        assert facts["Source"] == "`data/rows.jsonl`"
        assert facts["Student"] == "`models/tiny-student`, template `vicuna`, max length `512`, dtype `float32`"
        assert facts["Selection"].endswith(": 3 of 4 rows kept (75.0%)")
        assert facts["Training"] == "3 rows, 12 steps of `models/tiny-student`, mean loss 5.25 nats a token"
        assert facts["Time"].startswith("3 min (reflect 1.3 s, score 1 min, select 0.0 s, sft 14.6 s, evaluate 2 min;")

    def test_of_an_oracle_that_was_asked(self, lineage):
        usage = {"completions": 12, "prompt_tokens": 3456, "completion_tokens": 789, "without_usage": 0}
        price = {"cost_usd": 1.5, "usd_per_million_tokens": {"input": 1, "output": 2.5, "source": "the price list"}}
        reflect = replace(
            lineage[0],
            config={**lineage[0].config, "oracle": "openai", "oracle_model": "gpt-4.1-mini"},
            counts={**lineage[0].counts, "usage": {**usage, **price}},
        )
        facts = dict(facts_of([reflect], 4))
        assert facts["Oracle"] == "`gpt-4.1-mini`"
        assert facts["Cost"].startswith("Made from 12 completions of `gpt-4.1-mini`: 3,456 tokens in")
        assert "$1.50" in facts["Cost"] and "Selection" not in facts

    def test_of_an_oracle_on_the_hub(self, lineage):
        model = Source("hub", "org/oracle", "f", "abc123")
        reflect = replace(lineage[0], config={"oracle": "transformers"}, inputs={**lineage[0].inputs, "oracle": model})
        assert dict(facts_of([reflect], 4))["Oracle"] == (
            "[`org/oracle`](https://huggingface.co/org/oracle/tree/abc123) at `abc123`"
        )

    def test_of_published_rows(self, lineage):
        hub = {"dataset": "me/data", "model": "me/model"}
        record = publish_record({}, "mit", "title", hub, None)
        facts = dict(facts_of([*lineage, record], 4))
        assert facts["Published"] == (
            "[`me/data`](https://huggingface.co/datasets/me/data), [`me/model`](https://huggingface.co/me/model)"
        )
        assert facts["Selection"]

    def test_of_rows_that_were_scored_again_since(self, lineage):
        reflect, score, select = lineage
        again = replace(score, config={**score.config, "template": "alpaca"})
        facts = dict(facts_of([reflect, score, select, again], 4))
        assert "Selection" not in facts and "template `alpaca`" in facts["Student"]
        assert sections_of([reflect, score, select, again])["selection"] == []

    def test_of_no_rows(self, lineage):
        select = replace(lineage[2], counts={**lineage[2].counts, "rows": 0, "selected": 0})
        assert dict(facts_of([*lineage[:2], select], 0))["Selection"].endswith(": 0 of 0 rows kept")

    def test_of_plain_data(self):
        assert facts_of([], 7) == [("Rows", "7")]
        assert sections_of([]) == {name: [] for name in ("oracle", "scores", "selection", "training", "limits")}


class TestSections:
    def test_of_a_whole_run(self, whole_run):
        sections = sections_of(whole_run)
        outcomes = by_title(sections["oracle"])["What became of the oracle's answers"]
        assert outcomes.lines == [
            "Of 4 pairs, 3 stand as the oracle wrote them. 1 fell back to their parent row, unchanged: 1 `refusal`."
        ]
        assert outcomes.table[1:] == [["ok", "3"], ["refusal", "1"], ["total", "4"]] and not outcomes.words
        (scores,) = sections["scores"]
        assert scores.table[1][:3] == ["ok", "2", "3"] and scores.words and scores.folded
        selection = by_title(sections["selection"])
        assert list(selection) == ["The rule", "Which variant won", "Kept or dropped, and why"]
        assert selection["Which variant won"].table[-1] == ["total", "4", "3"]
        assert selection["Kept or dropped, and why"].table[1:] == [["kept", "3"], ["unscored", "1"], ["total", "4"]]
        training = by_title(sections["training"])
        assert list(training) == ["Training", "Against the baseline", "Benchmarks"]
        assert ["mean training loss (nats a token)", "5.25"] in training["Training"].table
        (limits,) = sections["limits"]
        assert any("language model's: not fact-checked" in line for line in limits.lines)

    def test_several_steps_are_told_one_by_one(self, lineage):
        steps = [{"step": "refusals", "rows": 4, "kept": 4}, {"step": "random", "rows": 4, "kept": 3}]
        strategy = [{"name": "refusals"}, {"name": "random", "seed": 0, "fraction": 0.75, "count": None}]
        select = replace(lineage[2], config={"strategy": strategy}, counts={**lineage[2].counts, "steps": steps})
        found = by_title(sections_of([*lineage[:2], select])["selection"])
        assert found["Step by step"].table[1:] == [["refusals", "4", "4", ""], ["random", "4", "3", ""]]
        assert len(found["The rule"].lines) == 2

    def test_reasons_have_their_meaning(self, lineage):
        meanings = {"kept": "kept", "unscored": "no number"}
        select = replace(lineage[2], counts={**lineage[2].counts, "meanings": meanings})
        found = by_title(sections_of([*lineage[:2], select])["selection"])["Kept or dropped, and why"]
        assert found.words and found.table[2] == ["unscored", "1", "no number"]

    def test_scores_that_were_published_say_how_they_were_joined(self, lineage):
        statistics = Source("hub", "me/numbers", "f", "abc")
        joined = {"original": {"aligned_by": "row_id", "rows": 4, "warnings": ["odd <b>"]}}
        select = replace(
            lineage[2],
            inputs={"dataset": Source("file", "rows.jsonl", "f"), "statistics": statistics},
            counts={**lineage[2].counts, "joined": joined},
        )
        sections = sections_of([select])
        assert (
            by_title(sections["selection"])["The rule"].lines[1] == "`original`: 4 rows, joined by row_id; odd &lt;b>"
        )
        assert sections["oracle"] == sections["scores"] == sections["training"] == []
        assert any("`me/numbers`" in line for line in sections["limits"][0].lines)

    def test_what_was_trained_on_rows_is_no_limit_of_theirs(self, lineage, sft_record):
        trained = replace(sft_record, config={**sft_record.config, "limit": 2})
        (limits,) = sections_of([*lineage, trained])["limits"]
        assert not any("sft" in line for line in limits.lines)

    def test_no_record_of_the_rows_has_no_limits(self, sft_record):
        assert sections_of([sft_record])["limits"] == []


def test_hostile_names_stay_in_code(lineage):
    evil = "`</code><script>alert(1)</script>`\n**x**"
    renamed = Source("hub", evil, "f", None)
    reflect = replace(lineage[0], inputs={"dataset": renamed}, config={"oracle": "openai", "oracle_model": evil})
    facts = dict(facts_of([reflect], 1))
    span = "`` `</code><script>alert(1)</script>` **x** ``"
    assert facts["Oracle"] == span
    assert facts["Source"].startswith(f"[{span}](https://huggingface.co/datasets/%60")
