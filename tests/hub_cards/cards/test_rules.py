"""The rule of a selection in words."""

from dataclasses import replace

import pytest

from hub_cards.cards.rules import RULES, rule_lines
from scoring.selection import STRATEGIES
from scoring.selection.steps import parse_steps


def rules(record, *steps):
    return rule_lines(replace(record, config={"strategy": [step.view() for step in parse_steps(steps, {})]}))


def test_every_strategy_has_one():
    assert set(RULES) == set(STRATEGIES)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("selective", "are both below 1, and only if its response was rewritten. A pair without"),
        ("selective require_reflected_response=false", "are both below 1. A pair without"),
        ("recycled", "the oracle's pair of rewritten instruction and better response is kept"),
        ("grape", "whose response the student finds likeliest"),
        (
            "cherry fraction=0.05",
            "(`ifd_loss`) of 1 or more are dropped; of the others, the 5 % of the rows that came",
        ),
        (
            "cherry count=1000 ratio=ppl group_by=kind",
            "(`ifd_ppl`) of 1 or more are dropped; of the others, the 1,000",
        ),
        ("cherry count=9 group_by=kind", "with the highest IFD are kept, in proportion to the rows of each `kind`."),
        ("superfilter fraction=0.1", "The scorer stands in for the student. Rows with an IFD (`ifd_ppl`)"),
        (
            "selectit fraction=0.2",
            "The 20 % of the rows that came in that the model rates highest are kept, by",
        ),
        ("sifd count=10 informative=0.25", "over the 25 % of all response tokens that the instruction says most about"),
        ("iterit count=10", "which count 0.1 of it once a picked row has them."),
        ("facility_location count=10", "The 10 rows are picked, one after the other, whose sentence embeddings"),
        ("pre_experience", "into 100 clusters; of each, up to 10 rows between the percentiles 25 and 75"),
        ("refusals", "Responses that refuse"),
        ("random count=10 seed=7", "The 10 rows are kept by chance (seed 7)."),
        ("length_matched_random like=runs/a", "as in the selection `runs/a`."),
        ("longest count=10 unit=characters", "The 10 rows with the longest responses are kept (in characters)."),
    ],
)
def test_says_what_is_kept(lineage, step, said):
    (line,) = rules(lineage[2], step)
    assert said in line
    assert line.startswith(f"**{step.split()[0]}**")


def test_steps_have_a_line_each_with_their_papers(lineage):
    first, second = rules(lineage[2], "refusals", "superfilter fraction=0.1")
    assert first.startswith("**refusals**: Responses")
    assert second.startswith("**superfilter** ([Superfiltering](https://arxiv.org/abs/2402.00530)): The")


def test_what_another_version_did_is_said_as_it_stands(lineage):
    strategy = [{"name": "unknown", "least": 3, "text": "<b>"}, {"name": "random", "fraction": 0.5}]
    select = replace(lineage[2], config={"strategy": strategy})
    assert rule_lines(select) == ["**unknown**: least 3, text &lt;b>", "**random**: fraction 0.5"]
