"""What a report is about, from every place that it can be read from."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, concatenate_datasets

from hub_cards.cards.lineage import selection_of
from hub_cards.errors import BadInputError
from hub_cards.provenance import read_records, write_records
from hub_cards.publishing.about_run import publish_record
from hub_cards.publishing.contents import published_configs, write_configs
from hub_cards.report.run import decisions_of, find_places, load_run, name_of
from hub_cards.rows import DataArguments, row_id
from hub_cards.sources import Source
from hub_cards.storage import save_result

OUTCOMES = {  # of the fixture `selection`
    "a": (True, "original", "kept"),
    "b": (False, None, "unscored"),
    "c": (True, "reflect_response", "kept"),
    "d": (True, "reflect_response", "kept"),
}


def outcomes(decisions: Dataset) -> dict:
    return {row["row_id"]: (row["selected"], row["selected_variant"], row["select_reason"]) for row in decisions}


@pytest.fixture
def selected(selection) -> DatasetDict:
    """The selection as select_rows saves it: the kept rows have the decision beside them."""
    decided = {row["row_id"]: row for row in selection["decisions"]}
    rows = selection["selected"]
    names = ("selected", "selected_variant", "select_reason")
    columns = {name: [decided[identity][name] for identity in rows["row_id"]] for name in names}
    beside = Dataset.from_dict({**columns, "select_rank": [2, 1, None]})
    return DatasetDict(selected=concatenate_datasets([rows, beside], axis=1), decisions=selection["decisions"])


@pytest.fixture
def run_folder(tmp_path, scored, selected, lineage, sft_record) -> Path:
    folder = tmp_path / "run"
    (folder / "sft").mkdir(parents=True)
    save_result(folder / "reflect", scored.remove_columns("ifd_ppl"), lineage[:1])
    save_result(folder / "score", scored, lineage[:2])
    save_result(folder / "select", selected, lineage)
    write_records(folder / "sft", [*lineage, sft_record])
    return folder


@pytest.fixture
def publish(tmp_path, lineage):
    """Lay configs out as publish does, with their records."""

    def make(configs, name="published") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_configs(folder, configs)
        write_records(folder, [*lineage, publish_record({}, "mit", "t", {}, None)])
        return folder

    return make


@pytest.fixture
def configs(scored, selected):
    texts = lambda rows: {"prompt": rows["instruction"], "completion": rows["output"]}  # noqa: E731
    return published_configs(scored, selected, texts)


@pytest.fixture
def load(scored):
    """`load_run`, and which record the variants of a selection were asked for by."""

    def call(dataset, selection=None, **settings):
        def selected_from(record):
            call.asked = record
            return scored

        call.asked = None
        return load_run(DataArguments(str(dataset), **settings), selection and str(selection), selected_from)

    return call


def steps(run) -> list[str]:
    return [record.step for record in run.records]


class TestRunFolder:
    def test_rows_with_scores_decisions_and_every_record_once(self, load, run_folder):
        run = load(run_folder)
        assert run.name == "run" and run.row_ids.to_pylist() == list("abcd")
        assert run.variants["reflect_response"]["ifd_ppl"][:] == [0.75, None, 0.5, 0.25]
        assert outcomes(run.decisions) == OUTCOMES
        assert steps(run) == ["reflect", "score", "select", "sft"]

    def test_as_far_as_it_is_finished(self, load, run_folder):
        (run_folder / "select").rename(run_folder / "later")
        run = load(run_folder)
        assert run.decisions is None and run.shown_decisions is None
        (run_folder / "score").rename(run_folder / "later2")
        assert "ifd_ppl" not in load(run_folder).variants["original"].column_names

    def test_of_a_selection_by_published_scores_these_are_shown(self, load, run_folder, scored, selected, lineage):
        statistics = Source("hub", "me/numbers", "f", "abc")
        select = replace(lineage[2], inputs={**lineage[2].inputs, "statistics": statistics})
        save_result(run_folder / "select", selected, [*lineage[:2], select])
        assert load(run_folder).variants is not None and load.asked == select
        (run_folder / "reflect").rename(run_folder / "later")
        (run_folder / "score").rename(run_folder / "later2")
        run = load(run_folder)
        assert load.asked == select and run.variants == scored and outcomes(run.decisions) == OUTCOMES
        assert steps(run) == ["reflect", "score", "select", "sft"]

    def test_another_selection_takes_the_place_of_its_own(self, load, run_folder, tmp_path, selected, lineage):
        dropped = selected["decisions"].map(lambda row: {**row, "selected": False})
        select = replace(lineage[2], config={"strategy": [{"name": "random"}]})
        save_result(tmp_path / "other", DatasetDict(selected=selected["selected"], decisions=dropped), [select])
        run = load(run_folder, tmp_path / "other")
        assert not any(kept for kept, *_ in outcomes(run.decisions).values())
        assert selection_of(run.records) == select  # so that its rule is told

    @pytest.mark.parametrize("by_flag", [True, False])
    def test_a_selection_of_other_rows_is_refused(
        self, load, complaint, run_folder, tmp_path, selected, lineage, by_flag
    ):
        others = selected["decisions"].map(lambda row: {**row, "row_id": f"other {row['row_id']}"})
        place = tmp_path / "other" if by_flag else run_folder / "select"
        save_result(place, DatasetDict(selected=selected["selected"], decisions=others), lineage)
        named = f"--selection {place}:" if by_flag else f"--dataset {run_folder}: its selection"
        message = complaint(load, run_folder, place if by_flag else None)
        assert message == f"{named} is of other rows: it has no row_id of {run_folder / 'score'}"

    def test_nothing_to_show(self, load, complaint, run_folder):
        for name in ("reflect", "score", "select"):
            (run_folder / name).rename(run_folder / f"{name}-later")
        message = complaint(load, run_folder)
        assert message == f"--dataset {run_folder}: the run holds no finished score, reflect or select"

    def test_a_training_on_an_earlier_selection_does_not_bring_that_back(self, load, run_folder, selected, lineage):
        select = replace(lineage[2], config={"strategy": [{"name": "random"}]})
        save_result(run_folder / "select", selected, [*lineage[:2], select])
        assert steps(load(run_folder)) == ["reflect", "score", "select", "sft"]
        assert load(run_folder).records[2] == select


class TestStageFolder:
    def test_of_reflect_and_score(self, load, run_folder, lineage):
        for name, records in (("reflect", lineage[:1]), ("score", lineage[:2])):
            run = load(run_folder / name)
            assert run.name == f"run/{name}" and run.decisions is None and run.records == records
            assert list(run.variants) == ["original", "reflect_response"]

    def test_of_select_with_the_variants_that_it_was_made_from(self, load, run_folder, lineage, scored):
        run = load(run_folder / "select")
        assert load.asked == lineage[2] and run.variants == scored
        assert run.records == lineage and outcomes(run.decisions) == OUTCOMES

    def test_of_score_with_a_selection_beside_it(self, load, run_folder, lineage):
        run = load(run_folder / "score", run_folder / "select")
        assert load.asked is None and run.records == lineage and outcomes(run.decisions) == OUTCOMES

    def test_one_variant_or_the_first_rows_of_it(self, load, run_folder):
        for place in (run_folder, run_folder / "select"):
            run = load(place, dataset_config="reflect_response", limit=3)
            assert list(run.variants) == ["reflect_response"]
            assert run.row_ids.to_pylist() == ["d", "c", "b"]
            assert outcomes(run.shown_decisions) == {name: OUTCOMES[name] for name in "dcb"}
            assert outcomes(run.decisions) == OUTCOMES

    @pytest.mark.parametrize("place", ["score", "select"])
    def test_a_variant_that_is_not_there(self, load, complaint, run_folder, place):
        assert complaint(load, run_folder / place, dataset_config="best").startswith("--dataset_config best: ")

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("sft", "is a result of sft and holds no rows; give the folder of its run"),
            ("gone", "there is no such file or folder, and it is not a Hub id (user/name)"),
            ("empty", "the folder was not saved by a stage (it has no provenance.json), and it holds no .json"),
        ],
    )
    def test_no_rows(self, load, complaint, run_folder, place, message):
        (run_folder / "empty").mkdir()
        assert complaint(load, run_folder / place).replace("--dataset ", "").startswith(f"{run_folder / place}")
        assert message in complaint(load, run_folder / place)

    def test_what_it_was_selected_from_is_gone(self, complaint, run_folder):
        def selected_from(_):
            raise BadInputError("--dataset runs/gone: there is no such file")

        message = complaint(load_run, DataArguments(str(run_folder / "select")), None, selected_from)
        told = "what it was selected from cannot be read: runs/gone: there is no such file"
        assert message == f"--dataset {run_folder / 'select'}: {told}"

    def test_a_selection_takes_no_selection(self, load, complaint, run_folder):
        message = complaint(load, run_folder / "select", run_folder / "select")
        assert message.startswith(f"--selection {run_folder / 'select'}: goes with rows")


class TestPublished:
    def test_decisions_are_those_of_the_ledger(self, load, publish, configs):
        run = load(publish(configs))
        assert list(run.variants) == ["original", "reflect_response"]
        assert outcomes(run.decisions) == OUTCOMES
        assert steps(run) == ["reflect", "score", "select", "publish"]
        assert run.variants["reflect_response"]["ifd_ppl"][:] == [0.75, None, 0.5, 0.25]

    def test_the_folder_above_it(self, load, complaint, publish, configs):
        folder = publish(configs, "dataset").parent
        write_records(folder, [publish_record({}, "mit", "t", {}, None)])
        message = complaint(load, folder)
        assert message == f"--dataset {folder}: holds several repositories; give {folder / 'dataset'}"

    @pytest.mark.parametrize("asked", [None, "selected"])
    def test_a_selection_without_its_variants(self, load, publish, selected, asked):
        """What `select_rows.py --push_to_hub` publishes: each kept row as the variant that it is."""
        run = load(publish(dict(selected)), dataset_config=asked)
        assert run.row_ids.to_pylist() == list("acd")
        found = {name: rows["row_id"][:] for name, rows in run.variants.items()}
        assert found == {"original": ["a"], "reflect_response": ["c", "d"]}
        assert outcomes(run.decisions) == {name: OUTCOMES[name] for name in "acd"}
        assert run.decisions["select_rank"][:] == [2, 1, None]

    def test_of_a_whole_set_the_selection_alone(self, load, publish, configs):
        run = load(publish(configs), dataset_config="selected", limit=2)
        assert run.row_ids.to_pylist() == ["a", "c"]
        assert list(run.variants) == ["original", "reflect_response"]

    def test_rows_that_say_nothing_of_a_selection(self, load, publish, scored):
        assert load(publish(dict(scored))).decisions is None

    def test_on_the_hub(self, load, publish, configs, hub):
        hub.put_folder("dataset", "me/recycled", publish(configs))
        run = load("me/recycled")
        assert run.name == "me/recycled" and outcomes(run.decisions) == OUTCOMES
        assert steps(run) == ["reflect", "score", "select", "publish"]
        assert load("me/recycled", dataset_config="selected").row_ids.to_pylist() == list("acd")
        assert load("me/recycled", limit=2, streaming=True).row_ids.to_pylist() == ["a", "b"]

    def test_a_selection_without_its_variants_on_the_hub(self, load, publish, selected, hub):
        hub.put_folder("dataset", "me/selection", publish(dict(selected)))
        run = load("me/selection")
        assert {name: rows["row_id"][:] for name, rows in run.variants.items()} == {
            "original": ["a"],
            "reflect_response": ["c", "d"],
        }
        assert outcomes(run.decisions) == {name: OUTCOMES[name] for name in "acd"}
        assert "ifd_ppl" in run.variants["original"].column_names

    def test_all_is_of_one_commit(self, publish, configs, hub):
        folder = publish(configs)
        hub.put_folder("dataset", "me/recycled", folder)
        arguments = DataArguments("me/recycled")
        arguments.source()
        records = read_records(folder)
        write_records(folder, records[:1])
        hub.put_folder("dataset", "me/recycled", folder)
        assert steps(load_run(arguments, None, None)) == ["reflect", "score", "select", "publish"]


def test_plain_data(load, tmp_path):
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "c", "input": "d", "output": "e"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = load(path)
    assert run.name == "rows.jsonl" and list(run.variants) == ["original"]
    assert run.row_ids.to_pylist() == [row_id("a", "", "b"), row_id("c", "d", "e")]
    assert run.decisions is None and run.records == []


class TestDecisionsOf:
    def test_a_null_is_not_kept_and_all_variants_must_say(self, scored):
        said = {"selected": [None, True, None, None], "selected_variant": list("wxyz"), "select_reason": ["r"] * 4}
        original, reflected = (
            concatenate_datasets([rows, Dataset.from_dict(said)], axis=1) for rows in scored.values()
        )
        found = decisions_of(DatasetDict(original=original, reflect_response=reflected))
        # The second row of each: b, and c.
        assert outcomes(found) == {
            "a": (False, "w", "r"),
            "b": (True, "x", "r"),
            "c": (True, "y", "r"),
            "d": (False, "z", "r"),
        }
        assert decisions_of(DatasetDict(original=original, reflect_response=scored["reflect_response"])) is None


def test_names(tmp_path, monkeypatch):
    (tmp_path / "run/select").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    assert [name_of(place) for place in (".", "../run/", "select", "me/data", str(tmp_path / "run/select/"))] == [
        *("run", "run", "run/select", "me/data", "run/select")
    ]


def test_records_name_no_place_of_this_machine(load, run_folder, lineage):
    reflect, score, select = lineage
    strategy = [{"name": "length_matched_random", "like": "/home/me/runs/other/select", "seed": 0}]
    select = replace(
        select,
        config={**select.config, "strategy": strategy},
        inputs={"dataset": Source("folder", "/home/me/run", "f")},
    )
    write_records(run_folder / "select", [reflect, score, select])
    run = load(run_folder)
    assert "/home/me" in str(run.records) and "/home/me" not in str(run.shown_records)
    shown = run.shown_records[2]
    assert shown.config["strategy"] == [{"name": "length_matched_random", "like": "select", "seed": 0}]
    assert shown.inputs["dataset"].location == "run" and shown.counts == select.counts


def test_a_run_of_a_selection_alone_is_found(run_folder):
    for name in ("reflect", "score"):
        (run_folder / name).rename(run_folder / f"{name}-later")
    places = find_places(str(run_folder), None)
    assert (places.variants, places.selection) == (None, str(run_folder / "select"))
    assert list(places.stages) == ["select", "sft"]
