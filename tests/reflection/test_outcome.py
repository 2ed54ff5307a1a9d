import pytest

from hub_cards.errors import BadInputError
from reflection.config import ReflectConfig
from reflection.costs import Usage
from reflection.outcome import check_outcome


class Oracle:
    """What is looked at of an oracle that keeps its answers."""

    def __init__(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage = usage


@pytest.fixture
def config() -> ReflectConfig:
    return ReflectConfig(dataset="d.jsonl", oracle_model="m", price_in=1.0, price_out=2.0, budget_usd=7.5)


def counts(**statuses: dict[str, int]) -> dict:
    return {"rows": 10, "reflect_status": {f"reflect_{name}": found for name, found in statuses.items()}}


def test_a_whole_run_says_what_it_was_made_from(config, capsys):
    usage = Usage(config.price())
    usage.add("a", 2_000_000, 1_000_000, batched=False)
    given = counts(response={"ok": 9, "refusal": 1})
    done = check_outcome(given, config, Oracle(usage))
    assert capsys.readouterr().out.splitlines() == [
        "[reflect] reflect_response: 9 ok, 1 refusal",
        "[reflect] made from 1 completions: 2,000,000 tokens in, 1,000,000 out, $4.00",
    ]
    assert (done["rows"], done["reflect_status"], done["unfinished"]) == (10, given["reflect_status"], 0)
    assert (done["usage"]["completions"], done["usage"]["cost_usd"]) == (1, 4.0)


def test_what_another_run_may_mend_is_counted_and_said(config, capsys):
    given = counts(
        instruction={"ok": 6, "oracle_error": 3, "not_asked": 1},
        both={"ok": 6, "parent_not_reflected": 4},
        response={"ok": 8, "not_asked": 2},
    )
    assert check_outcome(given, config, Oracle(Usage(None)))["unfinished"] == 3 + 1 + 2
    first, second, _ = capsys.readouterr().out.splitlines()[3:]
    assert first == (
        "[reflect] warning: 3 request(s) got no answer after all retries, the same command asks again; their parent "
        "rows stay"
    )
    assert second == (
        "[reflect] warning: 3 request(s) were not asked, the budget of $7.5 is spent; a larger --budget_usd goes on; "
        "their parent rows stay"
    )


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ({"response": {"oracle_error": 10}}, "10 oracle_error"),
        ({"response": {"no_choices": 3, "null_content": 2}}, "3 no_choices, 2 null_content"),
        ({"instruction": {"oracle_error": 1}, "response": {"not_asked": 1}}, "1 oracle_error, 1 not_asked"),
    ],
)
def test_not_one_answer_is_refused(config, statuses, said):
    with pytest.raises(BadInputError) as error:
        check_outcome(counts(**statuses), config, Oracle(Usage(None)))
    assert str(error.value).startswith(f"--oracle openai: not one request was answered with a text ({said}); ")
    assert "\n" not in str(error.value)


def test_a_budget_below_the_first_request_says_so(config):
    statuses = {"instruction": {"not_asked": 4}, "both": {"parent_not_reflected": 4}}
    with pytest.raises(BadInputError, match=r"--budget_usd 7.5: is less .* cost \(4 not_asked\)"):
        check_outcome(counts(**statuses), config, Oracle(Usage(None)))


def test_answers_without_a_text_can_be_forgotten_and_the_run_is_not_done(config, capsys):
    given = counts(response={"ok": 6, "no_choices": 3, "null_content": 1})
    assert check_outcome(given, config, Oracle(Usage(None)))["unfinished"] == 4
    assert f"--store {config.store} --forget_empty true" in capsys.readouterr().out


def test_a_run_without_one_pair_warns(config, capsys):
    check_outcome(counts(response={"missing_answer": 10}), config, Oracle(Usage(None)))
    assert "warning: not one pair could be used" in capsys.readouterr().out


@pytest.mark.parametrize("status", ["ok", "refusal", "content_filter"])
def test_one_answer_is_enough(config, status):
    given = counts(response={"oracle_error": 9, status: 1})
    assert check_outcome(given, config, Oracle(Usage(None)))["unfinished"] == 9


def test_no_rows_are_no_failure(config):
    assert check_outcome(counts(response={}), config, Oracle(Usage(None)))["unfinished"] == 0


def test_recorded_completions_that_are_missing_are_said_and_nothing_is_left_to_mend(capsys):
    config = ReflectConfig(dataset="d.jsonl", oracle="recorded", recorded_path="c.jsonl")
    given = counts(response={"ok": 9, "not_recorded": 1})
    assert check_outcome(given, config, Oracle(None)) == given
    assert "warning: 1 request(s) have no completion in c.jsonl" in capsys.readouterr().out
