"""The measures of a run, from its settings."""

import gc
import weakref

import pytest
from accelerate import PartialState
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError
from scoring import kinds
from scoring.config import ScoreConfig
from scoring.distributed import Ranks, score_variants


@pytest.fixture
def run(quickstart, tmp_path):
    """`run("ifd", ...)` scores one row with the quickstart's student and gives the row and its counts."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Name a colour.", "input": "", "output": "Red."}\n')
    data = {"row_id": ["a"], "variant": ["original"], "instruction": ["Name a colour."], "input": [""]}
    variants = DatasetDict(original=Dataset.from_dict({**data, "output": ["Red."]}))

    def score(*names, **settings):
        student = str(quickstart / "student")
        config = ScoreConfig(dataset=str(rows), model_name_or_path=student, scores=list(names), **settings)
        ranks = Ranks("key", tmp_path / "work", PartialState(), print)
        measures = kinds.measures_of(config, config.planned_record(), ranks)
        scored, counts = score_variants(variants, measures, ranks)
        return scored["original"][0], counts

    return score


def test_a_model_is_let_go_before_the_next_one_is_loaded(run, quickstart, monkeypatch):
    load, loaded, alive = kinds.load_scorer, [], []

    def watched(*args, **settings):
        gc.collect()
        alive.append(sum(model() is not None for model in loaded))
        scorer = load(*args, **settings)
        loaded.append(weakref.ref(scorer.engine.model))
        return scorer

    monkeypatch.setattr(kinds, "load_scorer", watched)
    student = str(quickstart / "student")
    row, counts = run("ifd", "selectit", selectit_models=[student, student])
    assert alive == [0, 0, 0]
    assert row["selectit_model"] == pytest.approx(row["selectit_sentence"])  # the same rater three times
    assert row["ifd_ppl"] > 0
    assert counts["missing"] == {
        name: {"original": 0} for name in ("selectit_token", "selectit_sentence", "selectit_model")
    }
    assert not [name for name in row if name.startswith("selectit_sentence_")]


def test_only_what_is_asked_for_is_taken(run):
    row, counts = run("prompt_embedding")
    assert "ifd_ppl" not in row and "score_status" not in counts
    assert len(row["prompt_embedding"]) > 1 and row["ppl_prompt"] > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": ["ifd", "beauty"]}, "--scores 'beauty' is unknown; the scores are ifd, selectit"),
        ({"scores": []}, "--scores: name one"),
        ({"scores": ["selectit"], "keep_token_losses": True}, "--keep_token_losses: is for --scores ifd"),
        ({"selectit_models": ["x"]}, "--selectit_models and --rating_prompts are for --scores selectit"),
        ({"scores": ["selectit"], "rating_prompts": "no.yaml"}, "--rating_prompts no.yaml: there is no such file"),
        ({"scores": ["selectit"], "model_name_or_path": ""}, "--model_name_or_path: name the student"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(BadInputError, match=message):
        ScoreConfig(**{"dataset": "d", "model_name_or_path": "m", **settings})
