import email.utils
import time

import httpx2
import openai
import pytest

from hub_cards.errors import BadInputError, StoppedError
from reflection.oracles.faults import Fault, Remedy, diagnose, diagnose_status, raise_if_final, retry_after
from reflection.statuses import CONTENT_FILTER, CONTEXT_OVERFLOW, ORACLE_ERROR

KEY = "sk-proj-abcdefgh12345678"
# As the services word it: OpenAI, vLLM, TGI, llama.cpp, LiteLLM.
OVERFLOWS = [
    (400, "context_length_exceeded", "This model's maximum context length is 128000 tokens."),
    (400, None, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"),
    (422, "validation", "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"),
    (400, "exceed_context_size_error", "the request exceeds the available context size"),
    (400, "string_above_max_length", "string too long"),
    (413, None, "Payload Too Large"),
]


class TestDiagnoseStatus:
    @pytest.mark.parametrize(
        ("status", "code", "remedy"),
        [
            (429, "rate_limit_exceeded", Remedy.THROTTLE),
            (429, None, Remedy.THROTTLE),
            (429, "insufficient_quota", Remedy.NO_CREDIT),
            (402, None, Remedy.NO_CREDIT),
            (400, "billing_hard_limit_reached", Remedy.NO_CREDIT),
            *((status, None, Remedy.RETRY) for status in (408, 409, 425, 500, 502, 503, 504, 529)),
            *((status, None, Remedy.REFUSED) for status in (400, 401, 403, 404, 405, 422)),
        ],
    )
    def test_remedy(self, status, code, remedy):
        assert diagnose_status(status, code, "No.").remedy is remedy

    @pytest.mark.parametrize(("status", "code", "message"), OVERFLOWS)
    def test_an_overflow_is_the_rows_own(self, status, code, message):
        fault = diagnose_status(status, code, message)
        assert (fault.remedy, fault.status) == (Remedy.GIVE_UP, CONTEXT_OVERFLOW)

    @pytest.mark.parametrize("status", [400, 403])
    def test_a_filtered_prompt_is_the_rows_own(self, status):
        fault = diagnose_status(status, "content_filter", "The response was filtered")
        assert (fault.remedy, fault.status) == (Remedy.GIVE_UP, CONTENT_FILTER)

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
    def test_no_message_repeats_the_key(self, status):
        fault = diagnose_status(status, None, f"Bad\nBearer {KEY} and sk-proj-****5678", secret=KEY)
        assert KEY not in fault.detail
        assert "5678" not in fault.detail
        assert "\n" not in fault.detail

    def test_a_message_without_end_is_cut(self):
        assert len(diagnose_status(500, None, "x" * 10**6).detail) < 400


class TestDiagnose:
    def test_a_connection_that_fails_is_tried_again(self):
        request = httpx2.Request("POST", "http://localhost/v1/chat/completions")
        for error in (openai.APIConnectionError(request=request), openai.APITimeoutError(request=request)):
            fault = diagnose(error, KEY)
            assert (fault.remedy, fault.status) == (Remedy.RETRY, ORACLE_ERROR)
            assert "localhost" in fault.detail


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({}, None),
            ({"retry-after": "3"}, 3),
            ({"retry-after": "0"}, 0),
            ({"retry-after": "0.25"}, 0.25),
            ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
            ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
            ({"retry-after": "-1"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": ""}, None),
            ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),  # past
        ],
    )
    def test_seconds(self, headers, seconds):
        assert retry_after(headers) == seconds

    def test_a_date(self):
        value = email.utils.formatdate(time.time() + 100, usegmt=True)
        assert 90 < retry_after({"retry-after": value}) <= 100

    @pytest.mark.parametrize(
        "value", ["Wed, 99 Xxx 99999999999 99:99:99 GMT", "1 Jan 999999999999 0:0:0", "Mon, 32 Jan 2026 25:61:61 GMT"]
    )
    def test_a_date_that_is_none_is_no_error(self, value):
        seconds = retry_after({"retry-after": value})
        assert seconds is None or seconds >= 0


class TestRaiseIfFinal:
    def test_what_a_retry_may_mend_is_not(self):
        for remedy in (Remedy.RETRY, Remedy.THROTTLE, Remedy.GIVE_UP):
            raise_if_final(Fault(remedy, "x", retry_after=3600.0), "--oracle openai")

    def test_a_refusal_names_the_oracle(self):
        with pytest.raises(BadInputError, match=r"^--oracle openai_batch: the endpoint refuses the key in .*API_KEY"):
            raise_if_final(diagnose_status(401, None, "x"), "--oracle openai_batch")

    def test_no_credit_and_a_long_pause_stop_the_run(self):
        with pytest.raises(StoppedError, match="no credit left"):
            raise_if_final(diagnose_status(402, None, "x"), "--oracle openai")
        with pytest.raises(StoppedError, match="61 minutes"):
            raise_if_final(Fault(Remedy.THROTTLE, "x", retry_after=3660.0), "--oracle openai")

    def test_an_infinite_pause_is_a_long_one(self):
        with pytest.raises(StoppedError):
            raise_if_final(
                Fault(Remedy.THROTTLE, "x", retry_after=retry_after({"retry-after": "inf"})), "--oracle openai"
            )


def test_a_code_that_is_no_text_is_ignored():
    assert diagnose_status(400, {"a": 1}, "x").remedy is Remedy.REFUSED
