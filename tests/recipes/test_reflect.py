"""`recipes/reflect.py` as a user runs it: what is made, what it costs, and what a second run asks for."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from datasets import load_from_disk

from hub_cards.provenance import read_records
from hub_cards.sources import find_source

ROWS = 6
PROMPT_TOKENS, ANSWER_TOKENS = 300, 500  # about what the prompts have
DOLLARS = PROMPT_TOKENS * 1e-6 * 2 + ANSWER_TOKENS * 1e-6 * 8  # at --price_in 2 --price_out 8


@pytest.fixture
def service(monkeypatch):
    """An OpenAI-compatible server with well-formed answers; `asked` has the body of every request."""
    monkeypatch.setenv("OPENAI_API_KEY", "any")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append(body)
            question = body["messages"][1]["content"]
            name = hashlib.sha256(question.encode()).hexdigest()[:8] + server.salt
            new = f"[New Instruction] What is {name}? [End]\n[New Answer] It is {name}. [End]"
            text = f"Weak.\n{new if '[New Instruction]' in question else f'[Better Answer] {name}! [End]'}"
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS}
            reply = json.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply.encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.salt = [], ""
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def flags(quickstart, service, tmp_path):
    """Settings of a small live run."""
    return (
        *("--dataset", quickstart / "data/rows.jsonl", "--limit", ROWS, "--oracle", "openai", "--oracle_model", "m"),
        *("--base_url", f"http://127.0.0.1:{service.server_port}/v1", "--store", tmp_path / "store.sqlite"),
        *("--price_in", 2, "--price_out", 8, "--max_tokens", ANSWER_TOKENS),
    )


def rows_of(folder):
    return {name: part.to_list() for name, part in load_from_disk(folder).items()}


class TestMoney:
    def test_a_dry_run_counts_and_asks_and_writes_nothing(self, script, service, flags, tmp_path):
        done = script("reflect.py", *flags, "--output_dir", tmp_path / "out", "--dry_run")
        assert done.returncode == 0, done.stderr
        lines = {line.split()[0]: line.split()[1:4] for line in done.stdout.splitlines()[:5]}
        for variant in ("reflect_instruction", "reflect_response", "reflect_both"):
            assert lines[variant] == [str(ROWS), "0", str(ROWS)]
        assert lines["total"] == [str(3 * ROWS), "0", str(3 * ROWS)]
        assert "Estimated price: $" in done.stdout
        assert service.asked == []
        assert list(tmp_path.iterdir()) == []

    def test_the_guide_shows_what_a_dry_run_prints(self, script, root, quickstart):
        model = ("--oracle", "openai", "--oracle_model", "gpt-4.1-mini")
        done = script("reflect.py", "--dataset", quickstart / "data/rows.jsonl", *model, "--dry_run")
        assert f"```text\n{done.stdout}```" in (root / "reflection/README.md").read_text(encoding="utf-8")

    def test_a_budget_ends_the_run_and_a_larger_one_goes_on(self, script, service, flags, tmp_path):
        out, whole = tmp_path / "out", tmp_path / "whole"
        budget = 7.5 * DOLLARS
        done = script("reflect.py", *flags, "--output_dir", out, "--budget_usd", budget)
        assert done.returncode == 0, done.stderr
        assert "were not asked, the budget of" in done.stdout
        record = read_records(out)[-1]
        assert record.unfinished > 0
        paid = len(service.asked)
        assert record.counts["usage"]["cost_usd"] == pytest.approx(paid * DOLLARS)
        assert 3 <= paid <= 7

        again = script("reflect.py", *flags, "--output_dir", out, "--budget_usd", budget)
        assert again.returncode == 0
        assert len(service.asked) == paid  # what is in the store counts against the budget

        done = script("reflect.py", *flags, "--output_dir", out, "--budget_usd", 100)
        assert done.returncode == 0, done.stderr
        assert len(service.asked) == 3 * ROWS  # nothing twice
        record = read_records(out)[-1]
        assert record.unfinished == 0
        assert record.counts["usage"]["cost_usd"] == pytest.approx(3 * ROWS * DOLLARS)
        undisturbed = script("reflect.py", *flags, "--output_dir", whole, "--store", tmp_path / "new.sqlite")
        assert undisturbed.returncode == 0
        assert rows_of(out) == rows_of(whole)
        assert "up to date" in script("reflect.py", *flags, "--output_dir", out).stdout

    def test_a_budget_too_small_for_one_request_is_said_and_saves_nothing(self, script, service, flags, tmp_path):
        done = script("reflect.py", *flags, "--output_dir", tmp_path / "out", "--budget_usd", DOLLARS / 10)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert done.stderr.startswith("error: --budget_usd 0.00046: is less than the first request may cost")
        assert service.asked == []
        assert not (tmp_path / "out").exists()


class TestAnswers:
    def test_other_answers_are_another_source_for_the_next_stage(self, script, service, flags, tmp_path):
        one, same, other = (tmp_path / name for name in ("one", "same", "other"))
        script("reflect.py", *flags, "--output_dir", one)
        script("reflect.py", *flags, "--output_dir", same)
        service.salt = "new"
        script("reflect.py", *flags, "--output_dir", other, "--store", tmp_path / "new.sqlite")
        fingerprints = [find_source(str(folder)).fingerprint for folder in (one, same, other)]
        assert fingerprints[0] == fingerprints[1] != fingerprints[2]

    def test_rows_that_pass_a_condition_alone_are_asked_about(self, script, service, flags, quickstart, tmp_path):
        lines = (quickstart / "data/rows.jsonl").read_text().splitlines()[:ROWS]
        rows = [json.loads(line) | {"ifd_ppl": number / 10} for number, line in enumerate(lines)]
        path = tmp_path / "scored.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        where = ("--where", "ifd_ppl < 0.5", "ifd_ppl highest 2", "--variants", "reflect_response")
        done = script("reflect.py", *flags, "--dataset", path, *where, "--output_dir", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        made = load_from_disk(tmp_path / "out")
        assert made["reflect_response"]["source_id"][:] == [row["id"] for row in rows[3:5]]
        assert len(service.asked) == 2

    def test_structured_output_asks_for_a_schema(self, script, service, flags, tmp_path):
        done = script("reflect.py", *flags, "--output_format", "json_schema", "--output_dir", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert {body["response_format"]["type"] for body in service.asked} == {"json_schema"}
        # This server answers with markers all the same: nothing is adopted, everything was asked twice.
        statuses = load_from_disk(tmp_path / "out")["reflect_response"]["reflect_status"][:]
        assert statuses == ["missing_answer"] * ROWS
        assert len(service.asked) == 4 * ROWS


class TestRecorded:
    def test_a_missing_completion_is_its_rows_own_matter(self, script, quickstart, tmp_path):
        recorded = [json.loads(line) for line in (quickstart / "data/completions.jsonl").read_text().splitlines()]
        first = recorded[0]["id"]
        kept = [c for c in recorded if (c["id"], c["variant"]) != (first, "reflect_instruction")]
        path = tmp_path / "completions.jsonl"
        path.write_text("".join(json.dumps(completion) + "\n" for completion in kept))
        flags = ("--dataset", quickstart / "data/rows.jsonl", "--limit", "3", "--oracle", "recorded")
        done = script("reflect.py", *flags, "--recorded_path", path, "--output_dir", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert "warning: 1 request(s) have no completion in" in done.stdout
        made = load_from_disk(tmp_path / "out")
        assert made["reflect_instruction"]["reflect_status"][:] == ["not_recorded", "ok", "ok"]
        assert made["reflect_both"]["reflect_status"][:] == ["parent_not_reflected", "ok", "ok"]
        assert made["reflect_response"]["reflect_status"][:] == ["ok", "ok", "ok"]
        for variant in ("reflect_instruction", "reflect_both"):
            for column in ("row_id", "instruction", "input", "output"):
                assert made[variant][0][column] == made["original"][0][column]

    def test_only_the_variants_asked_for_and_their_parents_are_made(self, script, quickstart, tmp_path):
        flags = ("--config", quickstart / "reflect.yaml", "--limit", "2", "--variants", "reflect_response")
        done = script("reflect.py", *flags, "--output_dir", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert list(load_from_disk(tmp_path / "out")) == ["original", "reflect_response"]

    def test_an_oracle_that_answers_nothing_is_refused_and_nothing_is_saved(self, script, quickstart, tmp_path):
        path = tmp_path / "completions.jsonl"
        path.write_text('{"id": "another", "variant": "reflect_both", "completion": "x"}\n')
        flags = ("--dataset", quickstart / "data/rows.jsonl", "--limit", "3", "--oracle", "recorded")
        done = script("reflect.py", *flags, "--recorded_path", path, "--output_dir", tmp_path / "out")
        assert done.returncode == 2
        assert "not one request was answered" in done.stderr
        assert not (tmp_path / "out").exists()
