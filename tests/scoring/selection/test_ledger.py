"""A ledger decides its rows again, and shows where somebody changed it."""

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from hub_cards.errors import BadInputError, StoppedError
from scoring.selection.apply import select_rows
from scoring.selection.ledger import check_saved, replay
from scoring.selection.steps import parse_steps
from scoring.selection.table import ScoreTable

BY_SCORES = (
    ("selective",),
    ("recycled", "random count=3 seed=1"),
    ("grape", "cherry ratio=loss fraction=0.2"),
    ("superfilter count=3", "longest count=2"),
    ("selectit count=3 level=model",),
)
BY_MORE = (
    ("refusals", "superfilter count=5", "facility_location count=2"),
    ("cherry count=2 group_by=variant",),
    ("iterit count=3",),
    ("sifd count=2",),
    ("pre_experience clusters=2 per_cluster=2",),
    ("longest count=3 unit=characters",),
    ("length_matched_random like=earlier",),
)
SIZE = 16

NAMES = ("original", "reflect_response", "reflect_both")


def earlier(folder):
    assert folder == "earlier"
    return DatasetDict(selected=Dataset.from_dict({"output": ["red"]}))


@pytest.fixture(scope="module")
def variants(random_variants, variants_of):
    found = {
        name: part.append_column("variant", pa.array(["x"] * SIZE))
        for name, part in random_variants(5, SIZE, NAMES).items()
    }
    texts = pa.array(["red"] * 8 + found["original"]["output"].to_pylist()[8:])
    found["original"] = found["original"].drop_columns("output").append_column("output", texts)
    return variants_of(**found)


def selection(variants, words):
    steps = parse_steps(words, {})
    return select_rows(ScoreTable(variants, earlier), steps)[0]["decisions"], steps


def tampered(ledger, position, **values):
    """One line of it with other values."""
    lines = ledger.to_list()
    lines[position] |= values
    return Dataset.from_list(lines, features=ledger.features)


class TestReplay:
    @pytest.mark.parametrize("words", BY_SCORES, ids=" | ".join)
    def test_of_scores_needs_the_ledger_alone(self, variants, words):
        ledger, steps = selection(variants, words)
        assert 0 < sum(ledger["selected"][:]) < SIZE
        assert len(replay(ledger, NAMES, steps)) == 0

    @pytest.mark.parametrize("words", BY_MORE, ids=" | ".join)
    def test_of_texts_and_vectors_needs_the_rows_in_any_order(self, variants, words):
        ledger, steps = selection(variants, words)
        assert 0 < sum(ledger["selected"][:]) < SIZE
        rows = DatasetDict({name: part.select(range(SIZE - 1, -1, -1)) for name, part in variants.items()})
        assert len(replay(ledger, NAMES, steps, rows, earlier)) == 0
        with pytest.raises(BadInputError, match=r"variant .* has no column"):
            replay(ledger, NAMES, steps, None, earlier)

    def test_of_some_variants(self, variants):
        some = DatasetDict({name: variants[name] for name in ("original", "reflect_response")})
        ledger, steps = selection(some, ["selective"])
        assert len(replay(ledger, list(some), steps)) == 0

    @pytest.mark.parametrize(
        ("column", "value"),
        [("selected_variant", "reflect_both"), ("select_reason", "luck"), ("select_step", "x"), ("select_score", 7.0)],
    )
    def test_shows_a_line_that_was_changed_as_it_is_decided_now(self, variants, column, value):
        ledger, steps = selection(variants, ["superfilter count=3"])
        changed = replay(tampered(ledger, 4, **{column: value}), NAMES, steps)
        assert changed["row_id"][:] == [ledger[4]["row_id"]]
        assert changed[column][0] == ledger[4][column] != value

    @pytest.mark.parametrize("column", ["selected", "select_rank"])
    def test_shows_a_decision_that_was_turned(self, variants, column):
        ledger, steps = selection(variants, ["superfilter count=3"])
        kept = ledger["selected"][:].index(True)
        changed = replay(tampered(ledger, kept, **{column: None if column == "select_rank" else False}), NAMES, steps)
        assert changed["row_id"][:] == [ledger[kept]["row_id"]]

    def test_shows_the_rows_that_a_changed_score_turns(self, variants):
        ledger, steps = selection(variants, ["superfilter count=1"])
        ranks = ledger["select_rank"][:]
        first, second = ranks.index(1), ranks.index(2)
        changed = replay(tampered(ledger, first, ifd_ppl_original=None), NAMES, steps)
        outcomes = dict(zip(changed["row_id"], changed["select_reason"], strict=True))
        assert outcomes[ledger[first]["row_id"]] == "unscored"
        assert outcomes[ledger[second]["row_id"]] == "kept"

    def test_refuses_rows_that_are_others(self, variants):
        ledger, steps = selection(variants, ["longest count=3 unit=characters"])
        others = DatasetDict({name: part.select(range(SIZE - 1)) for name, part in variants.items()})
        with pytest.raises(BadInputError, match="of the ledger is not among the rows of variant"):
            replay(ledger, NAMES, steps, others)


class TestCheckSaved:
    @pytest.fixture
    def saved(self, variants):
        result, counts = select_rows(ScoreTable(variants, earlier), parse_steps(["superfilter count=5"], {}))
        return result, counts["ledger"]

    def test_what_was_written_passes(self, saved, tmp_path):
        result, digest = saved
        result.save_to_disk(tmp_path)
        check_saved(DatasetDict.load_from_disk(tmp_path), digest)

    def test_a_ledger_that_was_changed_does_not(self, saved):
        result, digest = saved
        for changed in (tampered(result["decisions"], 3, select_reason="x"), result["decisions"].select(range(9))):
            with pytest.raises(StoppedError, match="the ledger was changed"):
                check_saved(DatasetDict(selected=result["selected"], decisions=changed), digest)

    def test_rows_that_the_ledger_does_not_keep_do_not(self, saved):
        result, digest = saved
        for places in (range(4), [1, 0, 2, 3, 4]):
            with pytest.raises(StoppedError, match="`selected` holds other rows than the 5 that the ledger keeps"):
                check_saved(result | {"selected": result["selected"].select(places)}, digest)
