"""The lines of the Batch API's files: requests on their way in, answers and errors on their way out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from reflection.oracles.base import Completion
from reflection.oracles.batch_ledger import BatchLedger
from reflection.oracles.chat import on_the_wire, read_response, without_secrets
from reflection.oracles.faults import Fault, Remedy, diagnose_status
from reflection.statuses import ORACLE_ERROR
from reflection.store import Answer

URL = "/v1/chat/completions"
COMMIT = 500  # answers stored at a time


@dataclass
class Found:
    """What a file holds besides answers.

    Attributes:
        faults: errors by the keys of their requests.
        malformed, unknown: lines that cannot be read, and lines for no request of the batch.
    """

    faults: dict[str, Fault] = field(default_factory=dict)
    malformed: int = 0
    unknown: int = 0


def keep_answers(ledger: BatchLedger, batch: str, lines: Iterable[bytes], model: str, secret: str | None) -> Found:
    """Store the answers of an output or error file; the order of its lines means nothing.

    Args:
        model: named in an answer that names none.
    """
    found = Found()
    answers: list[Answer] = []
    for line in filter(bytes.strip, lines):
        read = read_line(line, model, secret)
        request = ledger.request(batch, read[0]) if read else None
        if read is None:
            found.malformed += 1
        elif request is None:
            found.unknown += 1
        elif isinstance(read[1], Fault):
            found.faults[read[0]] = read[1]
        else:
            answers.append(Answer(request, read[1], None))
            if len(answers) >= COMMIT:
                ledger.store.put(answers)
                answers = []
    ledger.store.put(answers)
    return found


def request_line(key: str, request: dict[str, Any], base_url: str | None) -> bytes:
    """A request as a line of the input file."""
    line = {"custom_id": key, "method": "POST", "url": URL, "body": on_the_wire(request, base_url)}
    return json.dumps(line).encode() + b"\n"


def read_line(raw: bytes, model: str, secret: str | None) -> tuple[str, Completion | Fault] | None:
    """What a line of an output or error file says of which request; None where it cannot be read. Never raises.

    Args:
        model: named where the line names none.
    """
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return None
    response = line.get("response") if isinstance(line.get("response"), dict) else {}
    if response.get("status_code") == 200:
        completion = read_response(response.get("body"), model)
        if completion.failure == ORACLE_ERROR:
            return line["custom_id"], Fault(Remedy.RETRY, completion.detail)
        return line["custom_id"], replace(completion, batched=True)
    fault = _fault_of(response, line.get("error"), secret)
    if fault.remedy is Remedy.GIVE_UP:
        return line["custom_id"], Completion(None, failure=fault.status, model=model, detail=fault.detail, batched=True)
    return line["custom_id"], fault


def _fault_of(response: dict[str, Any], error: Any, secret: str | None) -> Fault:
    """An error that the request met stands in its response's body; one of the batch itself beside the response."""
    body = response.get("body")
    inner = body.get("error") if isinstance(body, dict) else None
    error = next((item for item in (inner, error) if isinstance(item, dict)), {})
    code, message, status = error.get("code"), str(error.get("message") or "no message"), response.get("status_code")
    code = code if isinstance(code, str) else None
    if isinstance(status, int) and not isinstance(status, bool):
        return diagnose_status(status, code, message, secret=secret)
    fault = diagnose_status(500, code, message, secret=secret)
    said = without_secrets(f"{code}: {message}" if code else message, secret)
    return replace(fault, detail=said) if fault.remedy is Remedy.RETRY else fault
