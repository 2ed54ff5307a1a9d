"""What is published, and that stock `load_dataset` reads it back as it was."""

import re
import shutil
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, Value, concatenate_datasets, load_dataset

from hub_cards.cards.about import About
from hub_cards.cards.data_set import write_dataset_card
from hub_cards.publishing import contents
from hub_cards.publishing.contents import copy_model, published_configs, statistics_configs, write_configs


def as_text(rows: dict[str, list]) -> dict[str, list]:
    return {
        "prompt": [f"Q: {i} {n}".strip() for i, n in zip(rows["instruction"], rows["input"], strict=True)],
        "completion": [f" A: {output}" for output in rows["output"]],
    }


def as_messages(rows: dict[str, list]) -> dict[str, list]:
    return {
        "prompt": [[{"role": "user", "content": text}] for text in rows["instruction"]],
        "completion": [[{"role": "assistant", "content": text}] for text in rows["output"]],
    }


@pytest.fixture
def published(tmp_path, lineage):
    """Lay configs out with their card, as `recipes/publish.py` does, and return a reader of the folder."""

    def publish(configs: dict[str, Dataset]):
        folder = tmp_path / "published"
        folder.mkdir()
        patterns = write_configs(folder, configs)
        write_dataset_card(folder, configs, patterns, lineage, About("Title", "cc-by-nc-4.0", notes="Notes."))
        return lambda *name: load_dataset(str(folder), *name, split="train", cache_dir=str(tmp_path / "cache"))

    return publish


class TestPublishedConfigs:
    def test_are_the_selection_and_then_every_scored_variant(self, scored, selection):
        assert list(published_configs(scored, selection, as_text)) == ["selected", "original", "reflect_response"]

    def test_selection_has_prompt_and_completion_beside_its_columns(self, scored, selection):
        selected = published_configs(scored, selection, as_text)["selected"]
        assert selected.column_names == [*selection["selected"].column_names, "prompt", "completion"]
        assert selected["prompt"][:] == ["Q: question a", "Q: question c", "Q: question d"]
        assert selected["completion"][:] == [
            " A: original answer a",
            " A: reflect_response answer c",
            " A: reflect_response answer d",
        ]

    def test_decisions_are_joined_by_row_id_whatever_the_order(self, scored, selection):
        configs = published_configs(scored, selection, as_text)
        decided = {
            name: {
                row["row_id"]: (row["selected"], row["selected_variant"], row["select_reason"]) for row in configs[name]
            }
            for name in ("original", "reflect_response")
        }
        assert decided["original"] == {
            "a": (True, "original", "kept"),
            "b": (False, None, "unscored"),
            "c": (False, "reflect_response", "kept"),
            "d": (False, "reflect_response", "kept"),
        }
        assert decided["reflect_response"] == {
            "a": (False, "original", "kept"),
            "b": (False, None, "unscored"),
            "c": (True, "reflect_response", "kept"),
            "d": (True, "reflect_response", "kept"),
        }

    def test_a_won_but_dropped_row_is_not_selected(self, scored, selection):
        dropped = selection["decisions"].map(lambda row: {**row, "selected": False})
        configs = published_configs(scored, DatasetDict({**selection, "decisions": dropped}), as_text)
        assert configs["original"]["selected"][:] == [False] * 4
        assert configs["original"]["selected_variant"][:] == ["original", None, "reflect_response", "reflect_response"]

    def test_variants_keep_their_rows_in_their_order(self, scored, selection):
        configs = published_configs(scored, selection, as_text)
        for name in ("original", "reflect_response"):
            assert configs[name].select_columns(scored[name].column_names).to_list() == scored[name].to_list()

    def test_scored_row_without_a_decision_is_refused(self, scored, selection, complaint):
        selection["decisions"] = selection["decisions"].select([0, 1, 2])
        assert complaint(published_configs, scored, selection, as_text) == (
            "row_id b is scored but was never selected from: run select again"
        )

    def test_selection_that_kept_nothing_is_refused(self, scored, selection, complaint):
        selection["selected"] = selection["selected"].select([])
        assert "the selection kept no row" in complaint(published_configs, scored, selection, as_text)


def test_statistics_are_the_numbers_of_every_variant_without_texts_and_lists(scored, selection):
    scored["original"] = (
        scored["original"].add_column("token_losses_A_direct", [[1.0]] * 4).add_column("coherence", [1.0] * 4)
    )
    configs = statistics_configs(DatasetDict({"selected": selection["selected"], **scored}))
    assert {name: rows.column_names for name, rows in configs.items()} == {
        "original": ["row_id", "ifd_ppl", "coherence"],
        "reflect_response": ["row_id", "ifd_ppl"],
        "token_losses": ["row_id", "variant", "token_losses_A_direct"],
    }
    assert configs["reflect_response"].to_dict() == {"row_id": list("dcba"), "ifd_ppl": [0.75, None, 0.5, 0.25]}


def test_token_losses_are_a_config_of_their_own_with_all_variants(scored):
    losses = {"original": [[1.0], None, [0.5, 0.25], [2.0]], "reflect_response": [[3.0], [4.0], None, []]}
    with_losses = DatasetDict(
        {name: scored[name].add_column("token_losses_Q_direct", values) for name, values in losses.items()}
    )
    rows = statistics_configs(with_losses)["token_losses"].to_list()
    assert [(row["row_id"], row["variant"], row["token_losses_Q_direct"]) for row in rows] == [
        (identity, name, values)
        for name in losses
        for identity, values in zip(scored[name]["row_id"], losses[name], strict=True)
    ]
    assert "token_losses" not in statistics_configs(scored)


class TestReadBack:
    @pytest.mark.parametrize("add_prompts", [as_text, as_messages])
    def test_every_config_has_equal_rows_and_types(self, add_prompts, scored, selection, published):
        configs = published_configs(scored, selection, add_prompts)
        load = published(configs)
        for name, rows in configs.items():
            loaded = load(name)
            assert loaded.to_list() == rows.to_list()
            assert loaded.features == rows.features

    def test_default_config_is_the_selection(self, scored, selection, published):
        assert published(published_configs(scored, selection, as_text))()["row_id"][:] == ["a", "c", "d"]

    def test_columns_that_are_all_null_keep_their_types(self, scored, selection, published):
        load = published(published_configs(scored, selection, as_text))
        original = load("original")
        assert original["ifd_ppl"][:] == original["source_id"][:] == original["reflection"][:] == [None] * 4
        assert original.features["ifd_ppl"] == Value("float64")
        assert original.features["source_id"] == original.features["reflection"] == Value("string")

    def test_decisions_that_are_all_null(self, scored, selection, published):
        selection["decisions"] = Dataset.from_dict(
            {
                "row_id": list("abcd"),
                "selected": [False] * 4,
                "selected_variant": [None] * 4,
                "select_reason": ["unscored"] * 4,
            }
        )
        original = published(published_configs(scored, selection, as_text))("original")
        assert original["selected_variant"][:] == [None] * 4
        assert original.features["selected_variant"] == Value("string")

    def test_large_config_becomes_several_files_in_order(self, published, monkeypatch, tmp_path):
        texts = [f"{number} Größe 🦜\u2028" * 20 for number in range(100)]
        rows = Dataset.from_dict({"row_id": [str(number) for number in range(100)], "output": texts})
        monkeypatch.setattr(contents, "MAX_SHARD_BYTES", rows.data.nbytes // 3)
        load = published({"selected": rows, "original": rows.select(range(3)).flatten_indices()})
        folder = tmp_path / "published"
        names = sorted(path.name for path in (folder / "selected").iterdir())
        assert [name[:20] for name in names] == [f"train-{number:05d}-of-00004" for number in range(4)]
        assert len({name[20:] for name in names}) == 1
        (only,) = (folder / "original").iterdir()
        assert only.name.startswith("train-00000-of-00001-")
        assert load("selected").to_list() == rows.to_list()

    def test_rows_picked_out_of_a_larger_set(self, published):
        rows = Dataset.from_dict({"row_id": [str(number) for number in range(100)]})
        picked = concatenate_datasets([rows.select([7, 3]), rows.select([3, 90])])
        assert published({"selected": picked})("selected")["row_id"][:] == ["7", "3", "3", "90"]


class TestCopyModel:
    @pytest.fixture
    def model(self, tmp_path) -> Path:
        folder = tmp_path / "sft"
        (folder / "checkpoint-4").mkdir(parents=True)
        for name in ("model.safetensors", "config.json", "training_args.bin"):
            (folder / name).write_bytes(name.encode())
        return folder

    def test_takes_the_files_but_no_pickle_and_no_checkpoint(self, model, tmp_path):
        copy_model(model, tmp_path / "out" / "model")
        copied = {path.name: path.read_bytes() for path in (tmp_path / "out" / "model").iterdir()}
        assert copied == {"model.safetensors": b"model.safetensors", "config.json": b"config.json"}

    def test_copies_where_the_file_system_has_no_hard_links(self, model, tmp_path, monkeypatch):
        def refuse(*args):
            raise OSError("no links here")

        monkeypatch.setattr(contents.os, "link", refuse)
        copy_model(model, tmp_path / "model")
        assert (tmp_path / "model" / "config.json").read_bytes() == b"config.json"
        assert (tmp_path / "model" / "config.json").stat().st_nlink == 1


def test_shard_names_are_those_that_the_card_points_to(tmp_path):
    patterns = write_configs(tmp_path, {"selected": Dataset.from_dict({"row_id": ["a"]})})
    (path,) = tmp_path.rglob("*.parquet")
    assert re.fullmatch(r"selected/train-\d{5}-of-\d{5}-[0-9a-f]{16}\.parquet", str(path.relative_to(tmp_path)))
    assert list(tmp_path.glob(patterns["selected"])) == [path]


def test_a_second_run_is_never_answered_with_the_first_ones_rows(tmp_path, lineage):
    """`datasets` caches a local folder by its last name and its card; the runs share one cache here, as a user's do."""
    for run, ids in (("one", ["a", "b"]), ("two", ["c", "d"]), ("two", ["e", "f"])):
        folder = tmp_path / run / "dataset"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        configs = {"selected": Dataset.from_dict({"row_id": ids})}
        write_dataset_card(folder, configs, write_configs(folder, configs), lineage, About("Title", "mit"))
        loaded = load_dataset(str(folder), "selected", split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["row_id"][:] == ids


class TestModel:
    @pytest.fixture
    def folder(self, quickstart, tmp_path):
        return Path(shutil.copytree(quickstart / "student", tmp_path / "model"))

    def test_a_whole_one_passes(self, folder):
        contents.check_model(folder)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("config.json", "holds no config.json"),
            ("tokenizer.json", "holds no tokenizer"),
            ("model.safetensors", "holds no weights"),
        ],
    )
    def test_what_is_missing_is_named(self, folder, complaint, name, said):
        (folder / name).unlink()
        assert said in complaint(contents.check_model, folder)

    def test_weights_that_are_cut_off_are_found(self, folder, complaint):
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[:-10])
        assert "model.safetensors: is damaged" in complaint(contents.check_model, folder)
