"""Columns and blocks, decoded as the page does it: base64, gzip, then bytes or JSON."""

import base64
import gzip
import io
import json
import re
import struct

import numpy as np
import pytest

from hub_cards.report import blocks
from hub_cards.report.blocks import BLOCK_BYTES, element, packed, packed_json, packed_numbers, write_blocks

ELEMENT = re.compile(r'<script type="text/plain" id="([a-z]+)-(\d+)">([A-Za-z0-9+/=]*)</script>\n')


def unpacked(text: str) -> bytes:
    return gzip.decompress(base64.b64decode(text, validate=True))


def written(entries, kind="notes"):
    """The starts, and by number of its element the rows of each block."""
    file = io.StringIO()
    starts = write_blocks(file, kind, entries)
    found = ELEMENT.findall(file.getvalue())
    assert "".join(element(f"{name}-{number}", text) for name, number, text in found) == file.getvalue()
    assert [(name, int(number)) for name, number, _ in found] == [(kind, place) for place in range(len(starts))]
    return starts, [json.loads(unpacked(text)) for *_, text in found]


class TestPacked:
    def test_the_same_content_gives_the_same_text(self):
        content = "Ünïcode </script> ".encode() * 99
        assert packed(content) == packed(content) and unpacked(packed(content)) == content
        assert base64.b64decode(packed(content))[4:8] == bytes(4)  # no time of its making

    def test_numbers_are_little_endian_wherever_they_come_from(self):
        values = [0.5, float("nan"), -1e300, 0.0]
        for array in (np.array(values), np.array(values, dtype=">f8")):
            found = struct.unpack("<4d", unpacked(packed_numbers(array)))
            np.testing.assert_array_equal(found, values)
        assert unpacked(packed_numbers(np.array([0, 1, 255], np.uint8))) == b"\x00\x01\xff"
        assert unpacked(packed_numbers(np.array([]))) == b""

    def test_json_in_utf8(self):
        assert unpacked(packed_json(["é ", None, 1])) == '["é ",null,1]'.encode()

    def test_half_a_surrogate_pair_becomes_a_question_mark(self):
        assert json.loads(unpacked(packed_json(["a\ud83db", "\ude00"]))) == ["a?b", "?"]

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_json_does_not_have_is_refused(self, value):
        with pytest.raises(ValueError, match="not JSON compliant"):
            packed_json([value])
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_blocks(io.StringIO(), "tokens", [[value]])


class TestBlocks:
    def test_none(self):
        assert written([]) == ([], [])

    @pytest.mark.parametrize("entry", [{"texts": ["</script>\u2028"]}, None, ""])
    def test_one_row(self, entry):
        assert written([entry]) == ([0], [[entry]])

    @pytest.mark.parametrize("cores", [1, 2, 16])
    def test_rows_stay_in_order_and_blocks_in_size_however_many_work_on_them(self, monkeypatch, cores):
        monkeypatch.setattr(blocks.os, "cpu_count", lambda: cores)
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
        lengths = np.random.default_rng(0).integers(0, 900, 400).tolist()
        lengths[7] = 5_000  # larger than a block by itself
        entries = [f"{row} {'x' * length}" for row, length in enumerate(lengths)]
        starts, found = written(entries)
        assert [entry for block in found for entry in block] == entries
        assert starts == [int(block[0].split()[0]) for block in found]
        sizes = [[len(json.dumps(entry)) for entry in block] for block in found]
        assert all(sum(size[:-1]) < 1000 for size in sizes)  # full with its last row, and not before
        assert all(sum(size) >= 1000 for size in sizes[:-1])

    def test_about_half_a_megabyte_each(self):
        assert BLOCK_BYTES == 512 * 1024
        starts, found = written(["x" * 2**17] * 9)
        assert starts == [0, 4, 8] and list(map(len, found)) == [4, 4, 1]

    def test_only_some_blocks_are_held(self, monkeypatch):
        monkeypatch.setattr(blocks.os, "cpu_count", lambda: 1)
        monkeypatch.setattr(blocks, "BLOCK_BYTES", 1)
        file, ahead = io.StringIO(), []

        def entries():
            for row in range(50):
                ahead.append(row - file.getvalue().count("<script"))
                yield "x"

        write_blocks(file, "notes", entries())
        assert max(ahead) <= blocks.AHEAD + 3

    def test_what_goes_wrong_with_a_row_is_not_lost(self):
        def entries():
            yield "x"
            raise LookupError("row 1")

        with pytest.raises(LookupError, match="row 1"):
            write_blocks(io.StringIO(), "notes", entries())
