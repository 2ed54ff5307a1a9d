"""The limits that a card names: each is there where the records count it, and only there."""

from dataclasses import replace

from hub_cards.cards.limits import data_limits, licence_lines, model_limits
from hub_cards.sources import Source


def said(records, text: str) -> bool:
    return text in "\n".join(data_limits(records))


def with_counts(record, **counts):
    return replace(record, counts={**record.counts, **counts})


def test_of_the_small_run(lineage):
    assert data_limits(lineage) == [
        "The rewrites are a language model's: not fact-checked, and with its errors and its bias.",
        "1 of 4 pairs are no rewrites but their parent row, unchanged; `reflect_status` says which.",
        "The oracle's completions were read from a file: which model wrote them, and with which settings, the records "
        "of this run cannot prove.",
        "The scores hold for `models/tiny-student` with the template `vicuna`, at most 512 tokens and `float32`; "
        "another model, template or length gives others.",
        "3 of 8 rows lack numbers: they are null, and `score_status` says why.",
    ]


def test_what_nobody_did_has_none(lineage):
    assert data_limits([]) == data_limits([lineage[2]]) == []
    assert not said(lineage[1:], "rewrites")


def test_what_was_left_out_of_the_source_is_named(lineage):
    counts = {"exact_duplicates": 1200, "rows_with_further_turns_not_carried": 3, "columns_not_carried": ["a", "b|c"]}
    reflect = with_counts(lineage[0], **counts)
    reflect = replace(reflect, config={**reflect.config, "limit": 500, "where": ["lang=en"]})
    assert said([reflect], "1,200 rows of the source are exact duplicates")
    assert said([reflect], "3 rows of the source are conversations")
    assert said([reflect], "Columns of the source that were left behind: `a`, `b|c`.")
    assert said([reflect], "reflect read only the first 500 rows.")
    assert said([reflect], "Only rows of the source with `lang=en` were read.")
    assert not said([with_counts(lineage[0], exact_duplicates=0)], "duplicates")


def test_what_the_oracle_did_not_see_or_answer_is_named(lineage):
    reflect = with_counts(lineage[0], reflect_status={"reflect_both": {"ok_prompt_cut": 2, "oracle_error": 5}})
    assert said([reflect], "Of 2 pairs the oracle saw only what fitted its context.")
    assert said([replace(reflect, unfinished=5)], "5 pairs still lack an answer of the oracle")
    asked = replace(reflect, config={**reflect.config, "oracle": "openai", "oracle_model": "gpt-4.1-mini"})
    assert not said([asked], "read from a file")


def test_texts_that_were_cut_and_other_missing_scores_are_counted(lineage):
    statuses = {"original": {"ok": 1, "target_truncated": 3}}
    score = with_counts(lineage[1], score_status=statuses, missing={"coherence": {"original": 2}})
    assert said([score], "3 of 4 scored texts were longer than that, and scored on what was left.")
    assert said([score], "`coherence` is null in 2")
    assert not said([score], "lack numbers")


def test_numbers_of_somebody_else_are_trusted(lineage):
    statistics = Source("hub", "me/statistics", "f", "abc")
    select = replace(lineage[2], inputs={**lineage[2].inputs, "statistics": statistics})
    assert data_limits([select]) == [
        "The selection trusts the numbers of `me/statistics`, which it did not take itself."
    ]


def test_a_model_has_those_of_its_training_and_of_its_data(lineage, sft_record):
    lines = model_limits([*lineage, sft_record])
    assert lines[1:3] == [
        "It was trained on the prompt template `vicuna` and answers best in it.",
        "Rows without room for their response, which took no part: 1.",
    ]
    assert lines[3:] == data_limits(lineage)
    cut = with_counts(sft_record, rows_cut=2, rows=3000)
    assert "Rows cut to fit its training length: 2 of 3,000." in model_limits([cut])


def test_the_oracles_terms_are_named_where_there_was_one(lineage):
    assert licence_lines(lineage[1:]) == []
    asked = replace(lineage[0], config={"oracle_model": "gpt-4.1-mini"})
    assert licence_lines([asked]) == [
        "The rewrites are the output of the oracle's model (`gpt-4.1-mini`): its terms of use apply to them as well."
    ]
