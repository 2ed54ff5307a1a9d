"""`score_dataset`: scores as a step of `datasets`."""

from dataclasses import replace

import pytest
from datasets import Dataset, DatasetDict, Value

from hub_cards.errors import BadInputError
from scoring.ifd import Scorer, score_batch, score_dataset
from scoring.ratios import LOSS_KEYS, columns_of_token_losses
from scoring.templates import get_template

ROWS = {
    "instruction": ["Say hello.", "Count to 3.", "Name a sea.", "Be silent."],
    "input": ["", "Loud", "", ""],
    "output": ["Hello!", "1 2 3", "The North Sea", ""],
    "more": [1, 2, 3, 4],
}


@pytest.fixture
def scorer(model_of, tokenizer_of, make_scorer) -> Scorer:
    student = (model_of("llama"), tokenizer_of("byte-level, BOS"))
    return make_scorer(student, "none", model_identity="one", keep_token_losses=True)


@pytest.fixture
def on_disk(tmp_path) -> Dataset:
    Dataset.from_dict(ROWS).save_to_disk(tmp_path / "rows")
    return Dataset.load_from_disk(tmp_path / "rows")


def test_adds_the_columns_and_keeps_the_others(scorer):
    found = score_dataset(Dataset.from_dict(ROWS), scorer)
    names = [column.name for column in scorer.columns]
    assert found.column_names == [*ROWS, *names]
    assert {name: found[name][:] for name in ROWS} == ROWS
    assert found.features["ifd_ppl"] == Value("float64")
    wanted = score_batch(ROWS, scorer)
    for name in names:
        values = [value if value is None or not hasattr(value, "tolist") else value.tolist() for value in wanted[name]]
        assert found[name][:] == values, name


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_size_of_batches_changes_no_score(scorer, batch_size):
    rows = Dataset.from_dict(ROWS)
    one, other = score_dataset(rows, scorer), score_dataset(rows, scorer, batch_size)
    assert one["score_status"][:] == other["score_status"][:] == ["ok", "ok", "ok", "empty_output"]
    assert one["loss_A_direct"][:3] == pytest.approx(other["loss_A_direct"][:3], rel=1e-5)


def test_token_losses_from_the_file_give_the_same_bits(scorer, on_disk):
    found = score_dataset(on_disk, scorer)
    for row in found:
        again = columns_of_token_losses({f"token_losses_{key}": row[f"token_losses_{key}"] for key in LOSS_KEYS})
        assert again == {name: row[name] for name in again}


def test_all_nulls_keep_their_types(scorer):
    found = score_dataset(Dataset.from_dict({"instruction": ["Be silent."], "output": [""]}), scorer)
    assert found.features["ifd_ppl"] == Value("float64") and found["ifd_ppl"][0] is None
    assert found["token_losses_A_direct"][0] is None


def test_rows_without_any_target_are_rows_too(scorer):
    found = score_dataset(Dataset.from_dict({"instruction": ["", ""], "output": ["", ""]}), scorer)
    assert found["score_status"][:] == ["empty_output"] * 2


def test_an_input_column_is_not_needed(scorer):
    rows = Dataset.from_dict({name: ROWS[name] for name in ("instruction", "output")})
    wanted = score_dataset(Dataset.from_dict({**ROWS, "input": [""] * 4}), scorer)
    assert score_dataset(rows, scorer)["ifd_ppl"][:] == wanted["ifd_ppl"][:]


def test_a_second_time_the_model_does_not_run(scorer, on_disk):
    first = score_dataset(on_disk, scorer)
    tokens = scorer.engine.tokens_run
    assert tokens > 0
    again = score_dataset(on_disk, scorer)
    assert scorer.engine.tokens_run == tokens
    assert again.to_list() == first.to_list()
    score_dataset(on_disk, replace(scorer, model_identity="two"))
    assert scorer.engine.tokens_run == 2 * tokens


def test_other_rows_are_scored(scorer, on_disk):
    score_dataset(on_disk, scorer)
    found = score_dataset(on_disk.select([2, 1]), scorer)
    assert found["more"][:] == [3, 2]
    wanted = score_dataset(Dataset.from_dict(ROWS), scorer)["ifd_ppl"]
    assert found["ifd_ppl"][:] == pytest.approx([wanted[2], wanted[1]], rel=1e-5)


@pytest.mark.parametrize("name", ["instruction", "output"])
def test_a_missing_column_is_refused(scorer, name):
    with pytest.raises(BadInputError, match=f"no column '{name}'; it has .*more"):
        score_dataset(Dataset.from_dict(ROWS).remove_columns(name), scorer)


@pytest.mark.parametrize("name", ["instruction", "output"])
def test_a_null_is_refused(scorer, name):
    with pytest.raises(BadInputError, match=f"'{name}' holds 1 nulls"):
        score_dataset(Dataset.from_dict({**ROWS, name: ["a", None, "b", "c"]}), scorer)


def test_nulls_that_were_filtered_out_are_no_nulls(scorer):
    rows = Dataset.from_dict({**ROWS, "output": ["a", None, "b", "c"]}).filter(lambda row: row["output"] is not None)
    assert score_dataset(rows, scorer)["score_status"][:] == ["ok"] * 3


def test_no_rows_are_refused(scorer):
    with pytest.raises(BadInputError, match="no rows"):
        score_dataset(Dataset.from_dict({"instruction": [], "output": []}), scorer)


def test_a_changed_setting_is_scored_again(scorer, on_disk):
    """`replace` is how a scorer is changed; what was scored before must not stand in for what is asked for."""
    found = [score_dataset(on_disk, scorer), score_dataset(on_disk, replace(scorer, max_length=5))]
    assert scorer.identity != replace(scorer, template=get_template("alpaca")).identity
    assert found[0]["score_status"][:] != found[1]["score_status"][:]


def test_a_scorer_of_no_known_model_is_never_mistaken_for_another(scorer):
    unknown = replace(scorer, model_identity="")
    assert unknown.identity != unknown.identity


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"instruction": ["a"], "output": [1]}, "the column 'output' holds no text"),
        ({"instruction": [["a"]], "output": ["b"]}, "the column 'instruction' holds no text"),
        ({"instruction": ["a"], "output": ["b"], "input": [3]}, "the column 'input' holds no text"),
    ],
)
def test_columns_that_hold_no_text_are_refused(scorer, columns, message):
    with pytest.raises(BadInputError, match=message):
        score_dataset(Dataset.from_dict(columns), scorer)


def test_what_is_no_dataset_is_refused(scorer, on_disk):
    for other in (DatasetDict(train=on_disk), on_disk.to_iterable_dataset()):
        with pytest.raises(BadInputError, match=f"not a {type(other).__name__}: pick a split"):
            score_dataset(other, scorer)


def test_the_format_of_a_dataset_does_not_matter(scorer, on_disk):
    wanted = score_dataset(on_disk, scorer)["ifd_ppl"][:]
    for name in ("arrow", "numpy", "pandas"):
        assert score_dataset(on_disk.with_format(name), scorer)["ifd_ppl"][:] == wanted
