"""What the Hub's `validate-yaml` says of the metadata of a card: errors refuse the commit, warnings do not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

VOCABULARY = {
    name: tuple(words.split())
    for name, words in yaml.safe_load((Path(__file__).parent / "vocabulary.yaml").read_text("utf-8")).items()
}
LICENCES, SIZES, LANGUAGES, TASKS = (VOCABULARY[name] for name in ("licences", "sizes", "languages", "tasks"))
OTHER_LANGUAGES = ("code", "multilingual")
TEXTS = ("pretty_name", "library_name", "pipeline_tag", "license_name", "license_link", "thumbnail")
TEXT_LISTS = (
    *("tags", "language", "size_categories", "task_categories", "task_ids", "datasets", "base_model", "metrics"),
    *("source_datasets", "multilinguality", "annotations_creators", "language_creators", "arxiv"),
)
MAY_BE_ONE = ("language", "license", "base_model", "datasets", "size_categories", "task_categories", "metrics", "arxiv")
BLOCK = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def read_metadata(card: str) -> dict[str, Any] | None:
    """The metadata of a card; None where there is none. Raises yaml.YAMLError; TypeError where it is no mapping."""
    found = BLOCK.match(card)
    read = yaml.safe_load(found[1]) if found else None
    if read is not None and not isinstance(read, dict):
        raise TypeError("Metadata must be a mapping")
    return read


def validate(card: str) -> tuple[list[str], list[str]]:
    """The errors and the warnings about a card."""
    try:
        metadata = read_metadata(card)
    except yaml.YAMLError as error:
        return [f"YAML parsing error: {str(error).splitlines()[0]}"], []
    except TypeError as error:
        return [str(error)], []
    if not metadata:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = [
        *_texts(metadata),
        *_values(metadata),
        *_repositories(metadata),
        *_configs(metadata.get("configs")),
        *_model_index(metadata.get("model-index")),
    ]
    tasks = [task for task in _listed(metadata.get("task_categories")) if task not in TASKS]
    warnings = [f'The task_categories "{task}" is not in the official list: {", ".join(TASKS)}' for task in tasks]
    return errors, warnings


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _texts(metadata: dict[str, Any]) -> list[str]:
    errors = [f'"{name}" must be a string' for name in TEXTS if not isinstance(metadata.get(name, ""), str)]
    for name in TEXT_LISTS:
        value = metadata.get(name)
        if value is not None and not isinstance(value, list) and not (name in MAY_BE_ONE and isinstance(value, str)):
            errors.append(f'"{name}" must be an array')
        elif isinstance(value, list):
            wrong = [place for place, part in enumerate(value) if not isinstance(part, str)]
            errors += [f'"{name}[{place}]" must be a string' for place in wrong]
    return errors


def _values(metadata: dict[str, Any]) -> list[str]:
    licences = _listed(metadata.get("license"))
    errors = [f'"license" must be one of [{", ".join(LICENCES)}]' for one in licences if one not in LICENCES]
    for language in _listed(metadata.get("language")):
        if isinstance(language, str) and not is_language(language):
            errors.append(
                f'"language" with value "{language}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code '
                '(two/three letters), or a special value like "code", "multilingual". If you want to use BCP-47 '
                "identifiers, you can specify them in language_bcp47."
            )
    sizes = _listed(metadata.get("size_categories"))
    errors += [f'"size_categories" must be one of [{", ".join(SIZES)}]' for size in sizes if size not in SIZES]
    return errors


def is_language(value: str) -> bool:
    """Whether the Hub takes it; every word of three letters passes here, though the real list of these is shorter."""
    return value in LANGUAGES or value in OTHER_LANGUAGES or re.fullmatch("[a-z]{3}", value) is not None


def _repositories(metadata: dict[str, Any]) -> list[str]:
    errors = []
    for name, kind in (("base_model", "model"), ("datasets", "dataset")):
        for value in _listed(metadata.get(name)):
            if isinstance(value, str) and not REPO_ID.fullmatch(value):
                errors.append(
                    f'"{name}" with value "{value}" is not valid. Use a {kind} id from https://hf.co/{kind}s.'
                )
    return errors


def _configs(configs: Any) -> list[str]:
    if configs is None:
        return []
    if not isinstance(configs, list):
        return ['"configs" must be an array']
    errors, names = [], []
    for place, config in enumerate(configs):
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            errors.append(f'"configs[{place}].config_name" must be a string')
            continue
        names.append(config["config_name"])
        files = config.get("data_files")
        for part in files if isinstance(files, list) else []:
            if isinstance(part, dict) and not ("split" in part and "path" in part):
                errors.append(f'"configs[{place}].data_files" must name a split and a path')
    doubled = sorted({name for name in names if names.count(name) > 1})
    return errors + [f'"configs" has several items with config_name "{name}"' for name in doubled]


def _model_index(index: Any) -> list[str]:
    if index is None:
        return []
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    errors = []
    for place, model in enumerate(index):
        where = f"model-index[{place}]"
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            errors.append(f'"{where}.name" is required')
        elif not isinstance(model.get("results"), list):
            errors.append(f'"{where}.results" must be an array')
        else:
            for number, result in enumerate(model["results"]):
                errors += _result(result, f"{where}.results[{number}]")
    return errors


def _result(result: Any, where: str) -> list[str]:
    """An evaluation: a task, a data set, and metrics with a type and a value."""
    if not isinstance(result, dict):
        return [f'"{where}" must be an object']
    errors = []
    for part, wanted in (("task", ("type",)), ("dataset", ("name", "type"))):
        held = result.get(part)
        wrong = [name for name in wanted if not isinstance(held, dict) or not isinstance(held.get(name), str)]
        errors += [f'"{where}.{part}.{name}" is required' for name in wrong]
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        return [*errors, f'"{where}.metrics" must be an array of at least one item']
    for number, metric in enumerate(metrics):
        lacking = [name for name in ("type", "value") if not isinstance(metric, dict) or metric.get(name) is None]
        errors += [f'"{where}.metrics[{number}].{name}" is required' for name in lacking]
    return errors
