"""The command that shows, exports and imports a completion store."""

import sqlite3

from reflection.oracles.base import Completion
from reflection.store import Answer, CompletionStore


def test_shows_exports_and_imports(script, tmp_path):
    first, second, file = tmp_path / "1.sqlite", tmp_path / "2.sqlite", tmp_path / "all.jsonl"
    store = CompletionStore(str(first))
    store.put([Answer({"model": "m", "messages": []}, Completion("text", prompt_tokens=7), 1.0)])
    store.close()
    assert "m                1" in script("completions.py", "--store", first).stdout
    assert "1 completions written" in script("completions.py", "--store", first, "--export_to", file).stdout
    done = script("completions.py", "--store", second, "--import_from", file)
    assert "1 of 1 completions are new here" in done.stdout, done.stderr
    assert CompletionStore(str(second)).get(store.key({"model": "m", "messages": []})).text == "text"


def test_refuses_a_foreign_file_and_leaves_it_as_it_is(script, tmp_path):
    path = tmp_path / "foreign.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    before = path.read_bytes()
    done = script("completions.py", "--store", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --store {path}: cannot be used as a completion store")
    assert path.read_bytes() == before


def test_of_a_missing_store_makes_none(script, tmp_path):
    done = script("completions.py", "--store", tmp_path / "none.sqlite")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert list(tmp_path.iterdir()) == []
