"""The guide's tables name what there is."""

from dataclasses import fields

import pytest

from scoring.selection import STRATEGIES


@pytest.fixture(scope="module")
def guide(root):
    return (root / "scoring/selection/README.md").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_guide_has_every_strategy_with_its_options(guide, name):
    (line,) = [line for line in guide if line.startswith(f"| `{name}` | ") and line.count("|") == 5]
    options = line.split("|")[3]
    assert [item.name for item in fields(STRATEGIES[name]) if f"`{item.name}`" not in options] == []


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_guide_has_every_reason_with_its_meaning(guide, name):
    for reason, meaning in STRATEGIES[name].reasons.items():
        if reason != "kept":
            assert [line for line in guide if f"| `{reason}` |" in line and f"`{name}`" in line and meaning in line]
