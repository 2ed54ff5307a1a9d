"""Statistics are known by their model: the quickstart's fit its student, and not another template."""

import pytest
from datasets import load_from_disk

from scoring.prescored import add_statistics, find_statistics


@pytest.fixture(scope="module")
def verify(script, small_run, quickstart):
    def call(*arguments):
        flags = ("--dataset", small_run / "reflect", "--statistics", small_run / "publish/statistics")
        model = ("--model_name_or_path", quickstart / "student", "--count", "8", "--seed", "3")
        return script("verify_statistics.py", *flags, *model, *arguments)

    return call


def test_what_publish_wrote_fits_the_student(verify):
    done = verify("--template", "vicuna")
    assert done.returncode == 0, done.stderr
    assert "the statistics fit this model" in done.stdout and "original by row_id" in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("ppl_A_condition"))
    assert line.split()[1] == "8" and float(line.split()[-2].rstrip("%")) < 0.1


def test_another_template_does_not_fit(verify):
    done = verify("--template", "none")
    assert done.returncode == 1
    assert "the statistics do NOT fit" in done.stdout and "Traceback" not in done.stderr


def test_bad_input_is_one_line(verify):
    done = verify("--statistics", "./nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --statistics ./nothing: there is no such file or folder")
    assert done.stderr.count("\n") == 1


def test_published_statistics_are_the_scores(small_run):
    """All that selection reads, beside the texts alone, whatever it is read from."""
    scored, texts = load_from_disk(small_run / "score"), load_from_disk(small_run / "reflect")
    for folder in ("publish/statistics", "publish/dataset", "score"):
        added, notes = add_statistics(texts, find_statistics(str(small_run / folder)))
        for name, rows in scored.items():
            # The losses of the tokens are published apart from the statistics.
            kept = [column for column in rows.column_names if not column.startswith("token_losses")]
            found, wanted = (part.select_columns(kept) for part in (added[name], rows))
            assert found.to_list() == wanted.to_list()
            assert found.features == wanted.features
            assert notes[name]["aligned_by"] == "row_id"
