"""The papers that a card cites."""

import re
from dataclasses import replace

from hub_cards.cards import citations
from hub_cards.cards.citations import OF_SCORES, OF_STRATEGIES, Paper, papers_of
from hub_cards.schema import CHERRY, SELECTIT, V1, V2
from scoring.selection import STRATEGIES

PAPERS = [value for value in vars(citations).values() if isinstance(value, Paper)]


def shorts(*records):
    return [paper.short for paper in papers_of(list(records))]


def test_are_those_of_the_methods_that_were_used(lineage, sft_record, evaluate_record):
    assert shorts(*lineage) == ["Reflection-Tuning", "Cherry LLM", "Selective Reflection-Tuning"]
    assert shorts(sft_record) == []
    assert shorts(evaluate_record) == ["AlpaGasus"]
    assert shorts(replace(evaluate_record, counts={"answers": {}})) == []


def test_of_a_selection_are_those_of_its_steps(lineage):
    names = ("refusals", "superfilter", "facility_location", "cherry")
    select = replace(lineage[2], config={"strategy": [{"name": name} for name in names]})
    assert shorts(select) == ["Superfiltering", "Cherry LLM"]
    score = replace(lineage[1], config={"scores": ["selectit", "embedding"]})
    assert shorts(score) == ["SelectIT"]


def test_name_only_strategies_that_there_are():
    assert set(OF_STRATEGIES) <= set(STRATEGIES)
    assert set(OF_STRATEGIES.values()) | set(OF_SCORES.values()) <= set(PAPERS)


def test_numbers_are_those_of_the_contract():
    known = {paper.short: f"{paper.short}, arXiv {paper.arxiv}" for paper in PAPERS}
    assert {V1, V2, CHERRY, SELECTIT} <= set(known.values())


def test_bibtex_has_balanced_braces_and_its_own_key():
    for paper in PAPERS:
        assert paper.bibtex.count("{") == paper.bibtex.count("}") == 5
        assert re.match(r"@article\{[a-z]+\d{4}[a-z]+,\n  title=\{", paper.bibtex)
        assert f"arXiv:{paper.arxiv}}}" in paper.bibtex and str(paper.year) in paper.key
        assert 0 <= paper.year - 2000 - int(paper.arxiv[:2]) <= 1
    assert len({paper.key for paper in PAPERS}) == len(PAPERS) == 10
