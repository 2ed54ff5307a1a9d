"""The contract's columns."""

import pyarrow as pa
import pytest
from datasets import List, Value

from hub_cards import schema

NAMES = {
    *("row_id", "source_id", "instruction", "input", "output", "variant"),
    *("reflection", "reflect_status", "critique", "oracle_model"),
    *("loss_Q_direct", "loss_A_direct", "loss_Q_condition", "loss_A_condition"),
    *("ppl_Q_direct", "ppl_A_direct", "ppl_Q_condition", "ppl_A_condition"),
    *("ifd_ppl", "rifd_ppl", "ifd_loss", "rifd_loss", "n_tokens_Q", "n_tokens_A", "score_status"),
    *("token_losses_Q_direct", "token_losses_A_direct", "token_losses_Q_condition", "token_losses_A_condition"),
    *("selectit_token", "selectit_sentence", "selectit_model"),
    *("embedding", "coherence", "prompt_embedding", "loss_prompt", "ppl_prompt"),
    *("selected", "selected_variant", "select_reason", "select_step", "select_rank", "select_score"),
    *("prompt", "completion"),
    *("answer", "answer_status", "answer_tokens", "generator", "baseline_answer", "baseline_generator"),
    *("review", "review_reverse", "mark", "baseline_mark", "mark_reverse", "baseline_mark_reverse"),
    *("outcome", "invalid_reason", "judge_model"),
}


def test_columns_are_those_of_the_contract():
    names = [column.name for column in schema.ALL_COLUMNS]
    assert len(names) == len(set(names))
    assert set(names) == NAMES


@pytest.mark.parametrize("column", schema.ALL_COLUMNS, ids=lambda column: column.name)
def test_column_says_what_it_is(column):
    assert isinstance(schema.features([column]).arrow_schema.field(0).type, pa.DataType)
    assert len(column.meaning) > 10
    assert column.meaning[0] != " " and not column.meaning.endswith(".")
    assert "|" not in column.meaning + column.unit + column.paper  # they stand in a Markdown table
    is_number = column.dtype in ("float64", "int64", "list<float32>")
    assert bool(column.unit) == is_number


@pytest.mark.parametrize(
    ("names", "dtype"),
    [
        (("loss_A_direct", "ppl_Q_condition", "ifd_ppl", "rifd_loss"), "float64"),
        (("n_tokens_Q", "n_tokens_A"), "int64"),
        (("token_losses_Q_direct", "token_losses_A_condition"), "list<float32>"),
        (("selected",), "bool"),
        (("row_id", "input", "reflect_status", "score_status", "select_reason", "prompt"), "string"),
    ],
)
def test_columns_have_the_contracts_types(names, dtype):
    assert {schema.COLUMNS_BY_NAME[name].dtype for name in names} == {dtype}


def test_variants_are_named_as_the_published_sets_name_them():
    assert schema.VARIANTS == ("original", "reflect_instruction", "reflect_response", "reflect_both")
    assert "original" not in schema.REFLECTED_VARIANTS


def test_features_keep_order_and_type():
    columns = [schema.COLUMNS_BY_NAME[name] for name in ("selected", "row_id", "ifd_ppl", "token_losses_Q_direct")]
    assert list(schema.features(columns).items()) == [
        ("selected", Value("bool")),
        ("row_id", Value("string")),
        ("ifd_ppl", Value("float64")),
        ("token_losses_Q_direct", List(Value("float32"))),
    ]
