"""The guide's table of statuses is the code's."""

import re
from pathlib import Path

from reflection.statuses import ADOPTED, REASONS, WORTH_A_SECOND_ASK


def test_every_status_stands_in_the_guide_with_its_meaning(root: Path):
    text = (root / "reflection/README.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| (.*) \| (yes|) \|$", text, re.M)
    assert [line[:2] for line in found] == list({**ADOPTED, **REASONS}.items())
    assert {name for name, _, again in found if again} == WORTH_A_SECOND_ASK
