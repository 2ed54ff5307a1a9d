"""The columns of what is published."""

from datasets import Dataset, Features, List, Value

from hub_cards.cards.columns import shown_columns
from hub_cards.schema import COLUMNS_BY_NAME


def test_are_those_of_all_configs_with_their_nulls_added_up():
    first = Dataset.from_dict({"row_id": ["a", "b"], "ifd_ppl": [0.5, None]})
    second = Dataset.from_dict({"ifd_ppl": [None, None, 1.0], "selected": [True, None, None]})
    found = {shown.column.name: (shown.nulls, shown.rows) for shown in shown_columns({"x": first, "y": second})}
    assert found == {"row_id": (0, 2), "ifd_ppl": (3, 5), "selected": (2, 3)}
    assert list(found) == ["row_id", "ifd_ppl", "selected"]


def test_nulls_are_counted_in_the_rows_that_are_published():
    rows = Dataset.from_dict({"ifd_ppl": [None, None, 1.0]}).select([2, 0])
    (shown,) = shown_columns({"x": rows})
    assert (shown.nulls, shown.rows) == (1, 2)


def test_types_are_those_of_the_files():
    message = List({"role": Value("string"), "content": Value("string")})
    kinds = {"prompt": message, "n_tokens_A": Value("int32"), "embedding": List(Value("float32"))}
    rows = Dataset.from_dict({name: [None] for name in kinds}, features=Features(kinds))
    types = [shown.column.dtype for shown in shown_columns({"x": rows})]
    assert types == ["list<struct<role, content>>", "int32", "list<float32>"]


def test_scores_of_a_variant_are_explained_by_those_of_the_contract():
    rows = Dataset.from_dict({"rifd_ppl_reflect_both": [1.0], "kind_original": ["a"]})
    ledger, own = (shown.column for shown in shown_columns({"x": rows}))
    assert ledger.meaning == f"of the variant reflect_both: {COLUMNS_BY_NAME['rifd_ppl'].meaning}"
    assert (ledger.name, ledger.unit) == ("rifd_ppl_reflect_both", "ratio")
    assert own.meaning == "a column of the source, as it was there"
