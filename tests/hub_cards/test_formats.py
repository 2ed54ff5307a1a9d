"""The accepted base formats, one record at a time."""

import pytest

from hub_cards.formats import FieldError, Pair, detect_format


def turns(*pairs: tuple[str, str], role: str = "from", text: str = "value") -> list[dict[str, str]]:
    return [{role: who, text: what} for who, what in pairs]


def messages(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return turns(*pairs, role="role", text="content")


READ = {
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"}, "alpaca", Pair("Add.", "1 2", "3")),
    "alpaca-null-input": ({"instruction": "Hi", "input": None, "output": "Yo"}, "alpaca", Pair("Hi", "", "Yo")),
    "wizardlm-pair": ({"instruction": "Hi", "output": "Yo"}, "alpaca", Pair("Hi", "", "Yo")),
    "empty-texts-stay": ({"instruction": "", "output": ""}, "alpaca", Pair("", "", "")),
    "whitespace-stays": ({"instruction": " Hi\n", "output": "\tYo "}, "alpaca", Pair(" Hi\n", "", "\tYo ")),
    "published-struct": (
        {"data": {"instruction": "Add.", "input": "1 2", "output": "3"}},
        "published data struct",
        Pair("Add.", "1 2", "3"),
    ),
    "published-struct-without-input": (
        {"data": {"instruction": "Hi", "output": "Yo"}},
        "published data struct",
        Pair("Hi", "", "Yo"),
    ),
    "sharegpt": (
        {"conversations": turns(("human", "Hi"), ("gpt", "Yo"))},
        "sharegpt conversations",
        Pair("Hi", "", "Yo"),
    ),
    "sharegpt-system-goes-first": (
        {"conversations": turns(("system", "Be brief."), ("human", "Hi"), ("gpt", "Yo"))},
        "sharegpt conversations",
        Pair("Be brief.\n\nHi", "", "Yo"),
    ),
    "sharegpt-empty-system": (
        {"conversations": turns(("system", ""), ("human", "Hi"), ("gpt", "Yo"))},
        "sharegpt conversations",
        Pair("Hi", "", "Yo"),
    ),
    "sharegpt-first-exchange-of-two": (
        {"conversations": turns(("human", "Hi"), ("gpt", "Yo"), ("human", "Bye"), ("gpt", "Ciao"))},
        "sharegpt conversations",
        Pair("Hi", "", "Yo", more_turns=True),
    ),
    "sharegpt-opened-by-the-assistant": (
        {"conversations": turns(("gpt", "Welcome"), ("human", "Hi"), ("gpt", "Yo"))},
        "sharegpt conversations",
        Pair("Hi", "", "Yo"),
    ),
    "sharegpt-ending-with-a-question": (
        {"conversations": turns(("human", "Hi"), ("gpt", "Yo"), ("human", "Bye"))},
        "sharegpt conversations",
        Pair("Hi", "", "Yo", more_turns=True),
    ),
    "sharegpt-two-questions-in-a-row": (
        {"conversations": turns(("human", "Hi"), ("human", "Hello?"), ("gpt", "Yo"))},
        "sharegpt conversations",
        Pair("Hi\n\nHello?", "", "Yo"),
    ),
    "sharegpt-late-system-is-not-of-the-first-exchange": (
        {"conversations": turns(("human", "Hi"), ("gpt", "Yo"), ("system", "Stop."))},
        "sharegpt conversations",
        Pair("Hi", "", "Yo"),
    ),
    "messages": ({"messages": messages(("user", "Hi"), ("assistant", "Yo"))}, "chat messages", Pair("Hi", "", "Yo")),
    "messages-roles-in-any-case": (
        {"messages": messages(("System", "Be brief."), ("User", "Hi"), ("Assistant", "Yo"))},
        "chat messages",
        Pair("Be brief.\n\nHi", "", "Yo"),
    ),
    "prompt-completion": ({"prompt": "Hi", "completion": " Yo"}, "prompt/completion", Pair("Hi", "", " Yo")),
    "prompt-completion-messages": (
        {
            "prompt": messages(("system", "Be brief."), ("user", "Hi")),
            "completion": messages(("assistant", "Yo")),
        },
        "prompt/completion",
        Pair("Be brief.\n\nHi", "", "Yo"),
    ),
}


@pytest.mark.parametrize(("record", "name", "pair"), READ.values(), ids=READ)
def test_record_is_read_as_its_pair(record, name, pair):
    found = detect_format(record, "data.json")
    assert found.name == name
    assert found.read(record) == pair


def test_alpaca_wins_over_the_chat_form_of_the_same_record():
    record = {"instruction": "Hi", "output": "Yo", "messages": messages(("user", "Other"), ("assistant", "Thing"))}
    assert detect_format(record, "data.json").read(record) == Pair("Hi", "", "Yo")


REFUSED = {
    "number": ({"instruction": 7, "output": "x"}, "field 'instruction' is a number (7), not a string"),
    "boolean": ({"instruction": "x", "output": True}, "field 'output' is a boolean, not a string"),
    "list": ({"instruction": "x", "output": ["y"]}, "field 'output' is a list, not a string"),
    "object": ({"instruction": "x", "input": {}, "output": "y"}, "field 'input' is an object, not a string"),
    "null-output": ({"instruction": "x", "output": None}, "field 'output' is missing or null, not a string"),
    "nested-lacks-output": ({"data": {"instruction": "x"}}, "field 'output' is missing or null"),
    "nested-is-text": ({"data": "x"}, "field 'data' is 'x', not an object with instruction, input and output"),
    "no-turns": ({"messages": []}, "field 'messages' holds no user turn followed by an assistant turn"),
    "turns-are-null": ({"messages": None}, "field 'messages' is missing or null, not a list of turns"),
    "turns-are-text": ({"conversations": "Hi"}, "field 'conversations' is 'Hi', not a list of turns"),
    "answer-before-question": (
        {"messages": messages(("assistant", "Yo"), ("user", "Hi"))},
        "field 'messages' holds no user turn followed by an assistant turn",
    ),
    "turn-is-text": ({"messages": ["Hi"]}, "turn 0 of 'messages' has no 'role'"),
    "sharegpt-keys-in-messages": ({"messages": turns(("human", "Hi"))}, "turn 0 of 'messages' has no 'role'"),
    "content-parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        "'content' in turn 0 of 'messages' is a list, not a string",
    ),
    "unknown-role": (
        {"conversations": turns(("human", "Hi"), ("tool", "42"))},
        "turn 1 of 'conversations' is by 'tool', neither user, assistant nor system",
    ),
    "prompt-list-completion-text": (
        {"prompt": messages(("user", "Hi")), "completion": "Yo"},
        "field 'prompt' is a list, not a string",
    ),
}


@pytest.mark.parametrize(("record", "reason"), REFUSED.values(), ids=REFUSED)
def test_bad_field_is_named_with_what_it_is(record, reason):
    with pytest.raises(FieldError) as caught:
        detect_format(record, "data.json").read(record)
    assert reason in str(caught.value)


def test_long_text_in_the_wrong_place_is_cut_in_the_message():
    with pytest.raises(FieldError) as caught:
        detect_format({"data": "x" * 5000}, "d").read({"data": "x" * 5000})
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("columns", [("question", "answer"), ("instruction", "input"), ("prompt",), ()])
def test_unknown_columns_are_listed_with_what_is_needed(columns, complaint):
    message = complaint(detect_format, columns, "data.json")
    assert f"data.json has the columns {', '.join(sorted(columns)) or '(none)'};" in message
    for wanted in ("instruction + output", "conversations", "messages", "completion + prompt", "data"):
        assert wanted in message
