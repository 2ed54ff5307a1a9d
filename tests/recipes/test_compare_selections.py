"""Two saved selections against each other, as a user compares them."""

import json
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, load_from_disk

from hub_cards.provenance import StepRecord, read_records
from hub_cards.storage import save_result


def save(folder: Path, ids: str, kept: str, scores: list[float]) -> Path:
    columns = {
        "row_id": list(ids),
        "selected": [letter in kept for letter in ids],
        "selected_variant": ["original"] * len(ids),
        "select_reason": ["kept" if letter in kept else "below_the_cut" for letter in ids],
        "select_rank": [1 + sorted(scores, reverse=True).index(score) for score in scores],
        "select_score": scores,
    }
    record = StepRecord("select", 1, {"name": folder.name}, {}).finished({}, 1.0)
    save_result(folder, DatasetDict(decisions=Dataset.from_dict(columns)), [record])
    return folder


@pytest.fixture
def selections(tmp_path: Path) -> tuple[Path, Path]:
    """A keeps a and b of a, b, c, d; B keeps a and d of e, d, c, b, a."""
    return (
        save(tmp_path / "a", "abcd", "ab", [4.0, 3.0, 2.0, 1.0]),
        save(tmp_path / "b", "edcba", "ad", [0.1, 0.8, 0.2, 0.3, 0.9]),
    )


def test_prints_and_saves_what_differs(script, selections, tmp_path):
    flags = (*selections, "--output_dir", tmp_path / "compared")
    done = script("compare_selections.py", *flags)
    assert done.returncode == 0, done.stderr
    assert f"A: {selections[0]}\nB: {selections[1]}\n" in done.stdout
    assert "rows                             4          0          1\n" in done.stdout
    assert "kept, of the rows in both        1          1          1\n" in done.stdout
    assert "Jaccard of the kept rows: 0.333" in done.stdout
    # By row, a to d: 4, 3, 2, 1 against 0.9, 0.3, 0.2, 0.8: 1 - 6 (0 + 1 + 1 + 4) / (4 * 15) with these ranks.
    assert "select_score          0.400     4" in done.stdout

    changed = load_from_disk(tmp_path / "compared")["changed"]
    assert [(row["row_id"], row["change"]) for row in changed] == [("b", "kept_only_in_a"), ("d", "kept_only_in_b")]
    content = json.loads((tmp_path / "compared/comparison.json").read_text(encoding="utf-8"))
    assert content["rows"] == {"in_both": 4, "only_in_a": 0, "only_in_b": 1}
    assert content["overlaps"][0] == {"k": 2, "fraction": None, "share": 0.5}
    (record,) = read_records(tmp_path / "compared")
    assert (record.step, record.counts) == ("compare_selections", content)


def test_equal_selections_save_no_rows_and_still_load(script, selections, tmp_path):
    done = script("compare_selections.py", selections[0], selections[0], "--output_dir", tmp_path / "compared")
    assert done.returncode == 0, done.stderr
    assert len(load_from_disk(tmp_path / "compared")["changed"]) == 0


def test_bad_input_is_one_line(script, selections, tmp_path):
    done = script("compare_selections.py", selections[0], save(tmp_path / "other", "xyz", "x", [1.0, 2.0, 3.0]))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "no row_id in common" in done.stderr
