from dataclasses import replace
from types import SimpleNamespace

import pytest
from datasets import Dataset
from jinja2 import TemplateError

from scoring import preflight
from scoring.ifd import Scorer
from scoring.preflight import TRIED_ROWS, Preflight, share_above_one
from scoring.templates import get_template


@pytest.mark.parametrize(
    ("ifd", "share"),
    [
        ([0.5, 1.5, 0.9, 2.0], 0.5),
        ([1.0], 1.0),
        ([0.999], 0.0),
        ([None, 2.0, 0.5], 0.5),
        ([None, None], None),
        ([], None),
    ],
)
def test_a_share_of_the_rows_that_have_an_ifd(ifd, share):
    assert share_above_one(ifd) == share


def shard(ifd: list[float | None], statuses: list[str] | None = None) -> Dataset:
    count = len(ifd)
    return Dataset.from_dict(
        {
            **{name: [f"{name} {number}" for number in range(count)] for name in ("instruction", "input", "output")},
            "ifd_ppl": ifd,
            "score_status": statuses or ["ok"] * count,
            "more": [1] * count,
        }
    )


@pytest.fixture
def scorer() -> Scorer:
    tokenizer = SimpleNamespace(chat_template=None, name_or_path="x")
    return Scorer(None, tokenizer, get_template("vicuna"), max_length=512)


@pytest.fixture
def tried(monkeypatch):
    """What every template would give, and which rows it was tried on."""
    shares: dict[str, list[float | None]] = {}
    asked: dict[str, list[str]] = {}

    def score(rows, scorer):
        asked[scorer.template.name] = rows["instruction"]
        return {"ifd_ppl": shares[scorer.template.name]}

    monkeypatch.setattr(preflight, "score_batch", score)
    return shares, asked


def test_is_said_once_after_200_rows(scorer):
    said = []
    look = Preflight(scorer, 1000, said.append)
    statuses = ["ok"] * 80 + ["target_truncated"] * 10 + ["target_lost"] * 5 + ["empty_output"] * 5
    look.add(shard([0.5] * 75 + [1.5] * 25, statuses), 100)
    assert said == []
    look.add(shard([0.5] * 100), 720)
    assert said == ["200 rows: IFD of 1 or more in 12%, cut at --max_length 512 in 8%; about 12 min for the rest"]
    look.add(shard([2.0] * 300), 5)
    look.finish()
    assert len(said) == 1


def test_a_small_run_is_looked_at_when_it_ends(scorer):
    said = []
    look = Preflight(scorer, 4, said.append)
    look.add(shard([0.5, 0.5, 0.5, 1.5]), 0)
    look.finish()
    look.finish()
    assert said == ["4 rows: IFD of 1 or more in 25%, cut at --max_length 512 in 0%"]


def test_a_run_without_rows_says_nothing(scorer):
    said = []
    Preflight(scorer, 0, said.append).finish()
    assert said == []


def test_rows_that_have_no_ifd_at_all_are_a_warning(scorer):
    said = []
    look = Preflight(scorer, 2, said.append)
    look.add(shard([None, None], ["target_lost"] * 2), 0)
    look.finish()
    assert said[0] == "2 rows: none has an IFD, cut at --max_length 512 in 100%"
    assert said[1].startswith("warning:") and "--max_length" in said[1]
    assert len(said) == 2


def test_a_better_template_is_named(scorer, tried):
    shares, asked = tried
    shares |= {"alpaca": [0.5, 0.5, 0.5, None], "vicuna": [2.0] * 4, "wizardlm": [2.0, 0.5], "none": [None]}
    said = []
    look = Preflight(scorer, 300, said.append)
    look.add(shard([2.0] * 250), 0)
    assert len(said) == 2
    assert said[1].startswith("warning: an IFD of 1 or more in 100%")
    assert said[1].endswith("try --template alpaca")
    assert "does it know --template vicuna?" in said[1]
    assert "alpaca 0%, wizardlm 50%, vicuna 100%" in said[1]
    rows = asked["alpaca"]
    assert set(asked) == {"alpaca", "vicuna", "wizardlm", "none"}  # this tokenizer has no chat template
    assert len(rows) == len(set(rows)) == TRIED_ROWS
    numbers = [int(row.split()[-1]) for row in rows]
    assert numbers[0] < 10 and numbers[-1] > 200  # spread over the rows


@pytest.mark.parametrize(("other", "named"), [(3, True), (5, True), (7, False), (8, False)])
def test_a_template_that_is_hardly_better_is_not_named(scorer, tried, other, named):
    """Of 10 rows vicuna leaves 8 at 1 or more, alpaca leaves `other`: one row less may be chance."""
    shares, _ = tried
    shares |= dict.fromkeys(("vicuna", "wizardlm", "none"), [2.0] * 8 + [0.5] * 2)
    shares["alpaca"] = [2.0] * other + [0.5] * (10 - other)
    said = []
    look = Preflight(scorer, 9, said.append)
    look.add(shard([2.0] * 5 + [0.5] * 4), 0)
    look.finish()
    assert ("try --template alpaca" in said[1]) == named
    assert ("do responses and instructions belong together?" in said[1]) != named


def test_a_half_is_not_too_many(scorer):
    said = []
    look = Preflight(scorer, 2, said.append)
    look.add(shard([2.0, 0.5]), 0)
    look.finish()
    assert len(said) == 1


def test_a_real_student_that_reads_shuffled_answers_is_warned_about(student, real_rows, make_scorer):
    """All parts together: the advice comes from rows that were really scored."""
    answers = real_rows["output"][:6]
    rows = Dataset.from_dict(
        {
            **{name: real_rows[name][:6] for name in ("instruction", "input")},
            "output": answers[3:] + answers[:3],
            "ifd_ppl": [2.0] * 6,
            "score_status": ["ok"] * 6,
        }
    )
    said = []
    look = Preflight(make_scorer(student, "vicuna", keep_token_losses=True), 6, said.append)
    look.add(rows, 0)
    look.finish()
    assert len(said) == 2 and "6 of the rows" in said[1]
    assert all(f"{name} " in said[1] for name in ("alpaca", "vicuna", "wizardlm", "none"))


def test_a_chat_template_that_cannot_render_is_left_out(tried, scorer, monkeypatch):
    """Nobody asked for it: it must not end a run that is all but done."""
    shares, asked = tried
    shares |= {"vicuna": [1.2] * 20, "alpaca": [0.9] * 20, "wizardlm": [1.2] * 20, "none": [1.2] * 20}
    said = []

    def refuse(*_arguments, **_named):
        raise TemplateError("only system messages")

    tokenizer = SimpleNamespace(chat_template="{{", name_or_path="x", apply_chat_template=refuse)
    other = replace(scorer, tokenizer=tokenizer)

    def score(rows, scorer, tried_one=preflight.score_batch):
        scorer.template.prompt(rows["instruction"][0])
        return tried_one(rows, scorer)

    monkeypatch.setattr(preflight, "score_batch", score)
    first = Preflight(other, 20, said.append)
    first.add(shard([1.2] * 20), 0.0)
    first.finish()
    assert "try --template alpaca" in said[-1] and "chat_template" not in said[-1]
    assert "chat_template" not in asked


def test_the_template_is_judged_by_the_rows_that_no_oracle_rewrote(tried, scorer):
    shares, asked = tried
    shares |= dict.fromkeys(("vicuna", "alpaca", "wizardlm", "none"), [1.2] * 20)
    said = []
    rows = shard([1.2] * 20 + [0.8] * 60).add_column("variant", ["original"] * 20 + ["reflect_both"] * 60)
    first = Preflight(scorer, 80, said.append)
    first.add(rows, 0.0)
    first.finish()
    assert said[0].startswith("80 rows: IFD of 1 or more in 100% of the 20 original ones, cut at")
    assert said[1].startswith("warning: an IFD of 1 or more in 100%")
    assert set(asked["vicuna"]) <= set(rows["instruction"][:20])
