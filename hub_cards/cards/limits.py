"""What a reader must know before using rows, scores or model: taken from the records wherever they count it."""

from __future__ import annotations

from hub_cards.cards.lineage import first_step, selection_of
from hub_cards.cards.outcomes import fallen_back, total_of
from hub_cards.cards.text import code, plain
from hub_cards.provenance import StepRecord
from hub_cards.stages import find_record
from hub_cards.tables import missing_line

NOTED = {
    "exact_duplicates": "rows of the source are exact duplicates of others; they were kept, and their `row_id` ends in "
    "`-2`, `-3` …",
    "rows_with_further_turns_not_carried": "rows of the source are conversations, whose first turn alone was taken",
}


def data_limits(records: list[StepRecord]) -> list[str]:
    """A sentence or two a limit, in Markdown; empty where nothing was done that has any."""
    reflect, score = find_record(records, "reflect"), score_of(records)
    return [
        *_of_source(records),
        *(_of_rewrites(reflect) if reflect else []),
        *(_of_scores(score) if score else []),
        *_of_statistics(selection_of(records)),
    ]


def model_limits(records: list[StepRecord]) -> list[str]:
    """The limits of the model, and of the data that it learned from."""
    sft = find_record(records, "sft")
    lines = [
        "Nothing was done for the model's safety, and nobody checks its answers: it has the errors and the bias of its "
        "base and its data."
    ]
    lines.append(f"It was trained on the prompt template {code(sft.config['template'])} and answers best in it.")
    cut, lost = (sft.counts.get(name) for name in ("rows_cut", "rows_without_room_for_a_completion"))
    lines += [f"Rows cut to fit its training length: {cut:,} of {sft.counts['rows']:,}."] if cut else []
    lines += [f"Rows without room for their response, which took no part: {lost:,}."] if lost else []
    return lines + data_limits([record for record in records if record.step in ("reflect", "score", "select")])


def score_of(records: list[StepRecord]) -> StepRecord | None:
    """The step that took IFD, for embeddings and the like may have been added after it; else the last that scored."""
    return find_record(records, "score", counted="score_status") or find_record(records, "score")


def _of_source(records: list[StepRecord]) -> list[str]:
    first = first_step(records)
    if first is None:
        return []
    lines = [f"{number:,} {what}." for key, what in NOTED.items() if (number := first.counts.get(key))]
    columns = first.counts.get("columns_not_carried")
    lines += [f"Columns of the source that were left behind: {', '.join(map(code, columns))}."] if columns else []
    limits = [record for record in records if record.config.get("limit") is not None]
    lines += [f"{record.step} read only the first {record.config['limit']:,} rows." for record in limits]
    where = first.config.get("where")
    kept = ", ".join(map(code, where)) if isinstance(where, list) else code(where)
    return [*lines, f"Only rows of the source with {kept} were read."] if where else lines


def _of_rewrites(reflect: StepRecord) -> list[str]:
    pairs, back, _ = fallen_back(reflect)
    lines = ["The rewrites are a language model's: not fact-checked, and with its errors and its bias."]
    if back:
        lines.append(
            f"{back:,} of {pairs:,} pairs are no rewrites but their parent row, unchanged; `reflect_status` says which."
        )
    if seen := total_of(reflect.counts["reflect_status"], "ok_prompt_cut"):
        lines.append(f"Of {seen:,} pairs the oracle saw only what fitted its context.")
    if reflect.unfinished:
        lines.append(f"{reflect.unfinished:,} pairs still lack an answer of the oracle: the run can be taken up.")
    if reflect.config.get("oracle") == "recorded":
        lines.append(
            "The oracle's completions were read from a file: which model wrote them, and with which settings, the "
            "records of this run cannot prove."
        )
    return lines


def _of_scores(score: StepRecord) -> list[str]:
    lines = []
    if score.inputs.get("model"):
        config = score.config
        lines.append(
            f"The scores hold for {code(score.inputs['model'].location)} with the template {code(config['template'])}, "
            f"at most {config['max_length']:,} tokens and {code(config['dtype'])}; another model, template or length "
            "gives others."
        )
    statuses = score.counts.get("score_status", {})
    rows = sum(sum(by_status.values()) for by_status in statuses.values())
    if cut := total_of(statuses, "target_truncated"):
        lines.append(f"{cut:,} of {rows:,} scored texts were longer than that, and scored on what was left.")
    whole = total_of(statuses, "ok") + cut
    if rows > whole:
        lines.append(f"{rows - whole:,} of {rows:,} rows lack numbers: they are null, and `score_status` says why.")
    return [*lines, *filter(None, [missing_line(score)])]


def _of_statistics(select: StepRecord | None) -> list[str]:
    statistics = select.inputs.get("statistics") if select else None
    if statistics is None:
        return []
    return [f"The selection trusts the numbers of {code(statistics.location)}, which it did not take itself."]


def licence_lines(records: list[StepRecord]) -> list[str]:
    """Whose terms apply beside the source's licence."""
    reflect = find_record(records, "reflect")
    if reflect is None:
        return []
    oracle = reflect.config.get("oracle_model")
    named = f" ({plain(code(oracle))})" if oracle else ""
    return [f"The rewrites are the output of the oracle's model{named}: its terms of use apply to them as well."]
