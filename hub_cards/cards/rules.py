"""The rule of a selection in words, from its record alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub_cards.cards.citations import OF_STRATEGIES
from hub_cards.cards.text import code, plain
from hub_cards.provenance import StepRecord

Options = Mapping[str, Any]


def _selective(options: Options) -> str:
    asked = ", and only if its response was rewritten" if options.get("require_reflected_response") else ""
    return (
        "Of the original and the rewritten instruction, each with its answer, the pair with the higher IFD goes on. Of "
        "that instruction's old and rewritten response, the one with the lower r-IFD wins. The winner is kept if its "
        f"IFD and its r-IFD are both below 1{asked}. A pair without a number never wins over one that has it."
    )


def _top_ifd(options: Options) -> str:
    groups = f", in proportion to the rows of each {code(options['group_by'])}" if options.get("group_by") else ""
    ratio = options.get("ratio", "ppl")
    return (
        f"Rows with an IFD ({code(f'ifd_{ratio}')}) of 1 or more are dropped; of the others, {_share(options)} with "
        f"the highest IFD are kept{groups}."
    )


# What each strategy does, in a sentence or two.
RULES: dict[str, Callable[[Options], str]] = {
    "selective": _selective,
    "recycled": lambda _: (
        "Of every row the oracle's pair of rewritten instruction and better response is kept; where that was not "
        "adopted, it is its parent's."
    ),
    "grape": lambda _: (
        "Of every row the variant is kept whose response the student finds likeliest, given its instruction."
    ),
    "cherry": _top_ifd,
    "superfilter": lambda options: f"The scorer stands in for the student. {_top_ifd(options)}",
    "selectit": lambda options: (
        f"{_share(options, start=True)} that the model rates highest are kept, by its rating at the level "
        f"{code(options['level'])}."
    ),
    "sifd": lambda options: (
        f"IFD is taken over the {_percent(options['informative'])} of all response tokens that the instruction says "
        f"most about (S-IFD). Rows with a plain IFD of 1 or more are dropped; of the others, {_share(options)} with "
        "the highest S-IFD are kept."
    ),
    "iterit": lambda options: (
        f"{_share(options, start=True)} are picked one after the other, by IFD times what their response adds: the "
        f"TF-IDF of its 1- to 3-grams, which count {options['decay']:g} of it once a picked row has them. Rows with an "
        "IFD of 1 or more are never picked."
    ),
    "facility_location": lambda options: (
        f"{_share(options, start=True)} are picked, one after the other, whose sentence embeddings together come "
        "closest to those of all rows that came in."
    ),
    "pre_experience": lambda options: (
        f"K-means puts the prompt embeddings into {options['clusters']:,} clusters; of each, up to "
        f"{options['per_cluster']:,} rows between the percentiles {options['low']:g} and {options['high']:g} of its "
        "perplexity are kept, evenly spaced."
    ),
    "refusals": lambda _: "Responses that refuse, or speak of themselves as a language model's, are dropped.",
    "random": lambda options: f"{_share(options, start=True)} are kept by chance (seed {options['seed']}).",
    "length_matched_random": lambda options: (
        f"Kept by chance (seed {options['seed']}) are as many rows, with responses as long, as in the selection "
        f"{code(options['like'])}."
    ),
    "longest": lambda options: (
        f"{_share(options, start=True)} with the longest responses are kept (in {options['unit']})."
    ),
}


def rule_lines(select: StepRecord) -> list[str]:
    """A line of Markdown a step of the selection: its name, its paper where it has one, its rule."""
    return [_rule_line(step) for step in select.config["strategy"]]


def _rule_line(step: Options) -> str:
    name = step["name"]
    paper = OF_STRATEGIES.get(name)
    cited = f" ([{paper.short}]({paper.address}))" if paper else ""
    try:
        rule = RULES[name](step)
    except KeyError:  # a strategy, or an option, of another version
        rule = ", ".join(f"{key} {plain(value)}" for key, value in step.items() if key != "name")
    return f"**{plain(name)}**{cited}: {rule}"


def _share(options: Options, start: bool = False) -> str:
    """`the 5 % of the rows that came in`, `the 1,000 rows`."""
    count, fraction = options.get("count"), options.get("fraction")
    text = f"{count:,} rows" if count is not None else f"{_percent(fraction)} of the rows that came in"
    return f"{'The' if start else 'the'} {text}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"
