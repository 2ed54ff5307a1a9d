"""What stands at the start of a report, and how it is read again, also from files that are none of ours."""

import re
from dataclasses import replace

import pytest

from hub_cards.provenance import StepRecord
from hub_cards.report.identity import MARKER, START_CHARACTERS, Identity, identity_of
from hub_cards.sources import Source


def record(**fingerprints) -> StepRecord:
    inputs = {role.replace("_", " "): Source("hub", "x", text) for role, text in fingerprints.items()}
    return StepRecord("report", 1, {"title": "x"}, inputs)


def page(tmp_path, identity: str):
    path = tmp_path / "report.html"
    path.write_text(f"<!doctype html>\n<!-- {identity} -->\n<html></html>", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text", ["plain", "-->", "--!>", "a--b", "<script>", "</html>\n<!--", "\u2028é\ud800", '"}', "me/x@0123", "\\u002d"]
)
def test_is_read_as_it_was_written_whatever_the_inputs_are_called(tmp_path, text):
    made = Identity.of(record(dataset=text, **{text.replace("_", "-"): "x"}))
    line = made.as_line()
    assert line.isascii() and "\n" not in line
    assert not re.search(r"-->|--!>|<!--", line)
    assert identity_of(page(tmp_path, line)) == made


def test_is_that_of_the_record():
    made = Identity.of(record(dataset="f", select="g"))
    assert made == Identity(record(dataset="f", select="g").fingerprint, {"dataset": "f", "select": "g"})
    assert made != Identity.of(replace(record(dataset="f", select="g"), version=2))


def test_the_longest_that_there_can_be_stands_in_the_start(tmp_path):
    """A run of five stages, the rows and a selection, against another one, each a Hub id of dashes."""
    name = "-" * 96 + "@" + "0" * 40
    roles = {f"{side}{number}": name for side in ("", "compared_") for number in range(3)}
    hashes = {f"{side}stage{number}": "f" * 64 for side in ("", "compared_") for number in range(5)}
    made = Identity.of(record(**roles, **hashes))
    assert len(made.as_line()) < START_CHARACTERS - 200
    assert identity_of(page(tmp_path, made.as_line())) == made


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!doctype html><title>mine</title>",
        f"<!-- {MARKER} -->".encode(),
        f"<!-- {MARKER} is a fine thing -->".encode(),
        f"<!-- {MARKER} [1] -->".encode(),
        f'<!-- {MARKER} {{"fingerprint": "f"}} -->'.encode(),
        f'<!-- {MARKER} {{"fingerprint": "f", "inputs": {{}}, "more": 1}} -->'.encode(),
        f'<!-- {MARKER} {{"fingerprint": "f", "inputs": 5}} -->'.encode(),
        b" " * START_CHARACTERS + f'<!-- {MARKER} {{"fingerprint": "f", "inputs": {{}}}} -->'.encode(),
        b"\xff\xfe\x00binary",
    ],
)
def test_no_page_of_ours(tmp_path, content):
    path = tmp_path / "report.html"
    path.write_bytes(content)
    assert identity_of(path) is None


def test_nothing_there(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.html").mkdir()
    for path in (tmp_path / "none.html", tmp_path / "folder.html", tmp_path / "file/report.html"):
        assert identity_of(path) is None


def test_a_page_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    path = page(tmp_path, Identity.of(record()).as_line())
    monkeypatch.setattr(type(path), "open", refuse)
    assert identity_of(path) is None
