"""Pieces of responses and their losses, held against the scores and against one row at a time in plain Python."""

import shutil

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerFast

from hub_cards.errors import BadInputError
from hub_cards.provenance import StepRecord
from hub_cards.sources import Source
from scoring.ifd import score_dataset
from scoring.spans import ALIGNED, PUBLISHED, SPANS, encode_pairs
from scoring.templates import get_template
from scoring.tokens import load_tokenizer, open_tokenizer, response_tokens

FEATURES = Features(
    {
        **{name: Value("string") for name in ("row_id", "instruction", "input", "output")},
        **{f"token_losses_A_{kind}": List(Value("float32")) for kind in ("direct", "condition")},
    }
)
RESPONSES = [
    *(" leading space", "  two", "\nnew line", "plain words, and more of them.", "héllo wörld", "😀😀 smile 👩‍👩‍👧"),
    *("日本語", '"quoted" text', ": colon", "", " ", "x", "</s> b", "a\tb\n\n\nc"),
]


@pytest.fixture(scope="module")
def rows():
    texts = [
        {"instruction": "Say it.", "input": "This way: " if number % 2 else "", "output": response}
        for number, response in enumerate(RESPONSES)
    ]
    return Dataset.from_list([{"row_id": f"row{number}", **row} for number, row in enumerate(texts)])


@pytest.fixture(scope="module", params=[(span, limit) for span in SPANS for limit in (512, 41)], ids=str)
def scored(request, student, make_scorer, rows):
    """Rows, scored, and the settings of that; the shorter limit cuts in the middle of characters."""
    span, max_length = request.param
    scorer = make_scorer(student, max_length=max_length, span=span, keep_token_losses=True)
    return score_dataset(rows, scorer), (scorer.tokenizer, "vicuna", max_length, span)


class TestTheStudentsScores:
    def test_the_pieces_add_up_to_what_was_scored(self, scored):
        rows, (tokenizer, *settings) = scored
        pieces = list(response_tokens(tokenizer, rows, *settings))
        assert len(pieces) == len(rows)
        for row, found in zip(rows, pieces, strict=True):
            for place, kind in ((1, "direct"), (2, "condition")):
                losses = row[f"token_losses_A_{kind}"]
                if losses is None:
                    assert found is None or all(piece[place] is None for piece in found)
                    continue
                total = sum(piece[place] for piece in found if piece[place] is not None)
                assert total == pytest.approx(row[f"loss_A_{kind}"] * len(losses), rel=1e-5)

    def test_joined_they_are_the_response_or_what_was_left_of_it(self, scored):
        rows, (tokenizer, *settings) = scored
        cut = 0
        for row, found in zip(rows, response_tokens(tokenizer, rows, *settings), strict=True):
            if found is None:
                assert row["score_status"] in ("empty_output", "target_lost")
                continue
            text = "".join(piece for piece, *_ in found)
            assert row["output"].startswith(text) and all(piece for piece, *_ in found)
            cut += text != row["output"]
            assert row["score_status"] in ("target_truncated", "target_lost") or text == row["output"]
        assert bool(cut) == (settings[1] == 41)

    def test_a_token_is_a_piece_and_so_is_a_character_of_several(self, scored):
        rows, (tokenizer, template, max_length, span) = scored
        if max_length == 41:
            return
        found = dict(zip(RESPONSES, response_tokens(tokenizer, rows, template, max_length, span), strict=True))
        words = tokenizer(RESPONSES[3], add_special_tokens=False)["input_ids"]
        assert [piece for piece, *_ in found[RESPONSES[3]]] == [tokenizer.decode(token) for token in words]
        assert [piece for piece, *_ in found["日本語"]] == ["日", "本", "語"]
        assert found[""] is None


def random_rows(tokenizer, texts, max_length, span, template="none"):
    """Rows with as many losses as tokens are scored of them; the losses are made up."""
    numbers = np.random.default_rng(len(texts))
    prompt = get_template(template).prompt
    pairs = encode_pairs(tokenizer, [prompt(text) for text, _ in texts], [text for _, text in texts], max_length, span)
    columns = {
        "row_id": [str(number) for number in range(len(texts))],
        "instruction": [instruction for instruction, _ in texts],
        "input": [""] * len(texts),
        "output": [output for _, output in texts],
    }
    for kind in ("direct", "condition"):
        counts = [getattr(pair, kind).n_scored for pair in pairs]
        columns[f"token_losses_A_{kind}"] = [numbers.random(count).tolist() if count else None for count in counts]
    return Dataset.from_dict(columns, features=FEATURES)


def side(tokenizer, text, before, start, limit, losses):
    """First and last character in the response, and the loss, of each of its tokens."""
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    tokens = list(zip(encoded["offset_mapping"], encoded["special_tokens_mask"], strict=True))[:limit]
    first = max(start, 1)
    assert losses is None or len(tokens) - first == len(losses)
    found = []
    for number, ((begin, end), special) in enumerate(tokens):
        if not special and end > before:
            loss = losses[number - first] if losses is not None and number >= first else None
            found.append((max(begin - before, 0), end - before, loss))
    return found


def naive(tokenizer, row, max_length, span):
    """The pieces of one row, character by character."""
    direct, condition = row["token_losses_A_direct"], row["token_losses_A_condition"]
    if not direct and not condition:
        return None
    context, output = get_template("none").prompt(row["instruction"], ""), row["output"]
    n_context, n_special = len(tokenizer(context)["input_ids"]), len(tokenizer("")["input_ids"])
    if span == PUBLISHED:
        limit = max_length - min(n_context, max_length) + 1
        sides = [
            side(tokenizer, output, 0, 1, limit, direct),
            side(tokenizer, context + output, len(context), n_context, max_length, condition),
        ]
    else:
        bos = 1 if tokenizer("")["input_ids"][:1] == [0] else 0
        kept = bos + max(max_length - (n_context - (n_special - bos)), 0)
        eos = n_special - bos
        kept = min(kept, len(tokenizer(output)["input_ids"]) - eos)
        sides = [side(tokenizer, output, 0, 1, kept, losses) for losses in (direct, condition)]
    pieces, begin = [], 0
    last = max((end for tokens in sides for _, end, _ in tokens), default=0)
    for end in range(1, last + 1):
        if any(first < end < past for tokens in sides for first, past, _ in tokens):
            continue
        numbers = []
        for tokens in sides:
            inside = [loss for first, past, loss in tokens if begin <= first and past <= end]
            whole = tokens and end <= tokens[-1][1] and None not in inside
            numbers.append(sum(inside) if whole else None)
        pieces.append((output[begin:end], *numbers))
        begin = end
    return pieces


PARTS = ["the", " cat", "The", ":", '"', "!", "\n", "\n\n", " ", "  ", "1", "é", "😀", "ing", "日本", "Yes"]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=10).map("".join)


KINDS = ("byte-level", "byte-level, BOS and EOS", "SentencePiece-like, BOS", "student")


@pytest.fixture(scope="module", params=KINDS)
def any_tokenizer(request, tokenizer_of, student):
    """Of the student's, line breaks and spaces merge."""
    return student[1] if request.param == "student" else tokenizer_of(request.param)


@pytest.mark.parametrize("span", SPANS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12), st.integers(2, 40))
def test_whatever_the_tokenizer_it_is_as_row_by_row(any_tokenizer, span, texts, max_length):
    rows = random_rows(any_tokenizer, texts, max_length, span)
    found = list(response_tokens(any_tokenizer, rows, "none", max_length, span))
    for row, pieces in zip(rows, found, strict=True):
        wanted = naive(any_tokenizer, row, max_length, span)
        assert (pieces is None) == (wanted is None)
        assert [piece for piece, *_ in pieces or []] == [piece for piece, *_ in wanted or []], row
        for (_, *numbers), (_, *others) in zip(pieces or [], wanted or [], strict=True):
            assert numbers == [None if other is None else pytest.approx(other, rel=1e-5) for other in others], row


def pieces_of(tokenizer, response):
    rows = random_rows(tokenizer, [("a", response)], 100, ALIGNED)
    return [piece for piece, *_ in next(response_tokens(tokenizer, rows, "none", 100, ALIGNED))]


class TestBoundary:
    def test_what_has_merged_with_the_prompt_has_no_number(self, student):
        """A line break that ends the prompt, and a space that begins the response, are one token together."""
        _, tokenizer = student
        assert tokenizer.convert_ids_to_tokens(tokenizer("a\n  the")["input_ids"])[2:] == ["ĊĠ", "Ġthe"]
        (row,) = rows = random_rows(tokenizer, [("a", "  the")], 100, PUBLISHED)
        (found,) = response_tokens(tokenizer, rows, "none", 100, PUBLISHED)
        (space, alone), (after,) = row["token_losses_A_direct"], row["token_losses_A_condition"]
        assert found == [(" ", space, None), (" the", alone, after)]

    def test_without_bos_nothing_precedes_the_first_token(self, tokenizer_of):
        tokenizer = tokenizer_of("byte-level")
        rows = random_rows(tokenizer, [("a", "the cat")], 100, PUBLISHED)
        (found,) = response_tokens(tokenizer, rows, "none", 100, PUBLISHED)
        assert found[0][1] is None and None not in (found[0][2], *found[1][1:])

    def test_spaces_that_a_tokenizer_leaves_out_of_its_offsets(self, tokenizer_of):
        backend = Tokenizer.from_str(tokenizer_of("byte-level").backend_tokenizer.to_str())
        backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True)])
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
        assert (1, 2) not in tokenizer("a  the", return_offsets_mapping=True)["offset_mapping"]
        assert pieces_of(tokenizer, "a  the") == ["a", " ", " the"]

    def test_what_a_normalizer_drops_is_of_the_next_token(self, tokenizer_of):
        backend = Tokenizer.from_str(tokenizer_of("byte-level").backend_tokenizer.to_str())
        backend.normalizer = normalizers.Replace("_", "")
        assert pieces_of(PreTrainedTokenizerFast(tokenizer_object=backend), "_a_ the") == ["_a", "_ the"]

    def test_a_loss_that_is_missing_on_one_side(self, tokenizer_of):
        tokenizer = tokenizer_of("byte-level, BOS")
        row = {**random_rows(tokenizer, [("a", "the cat")], 100, PUBLISHED)[0], "token_losses_A_direct": None}
        rows = Dataset.from_list([row], features=FEATURES)
        (found,) = response_tokens(tokenizer, rows, "none", 100, PUBLISHED)
        assert [piece[1] for piece in found] == [None] * len(found)
        assert [piece[2] for piece in found] == row["token_losses_A_condition"]


class TestRefusals:
    def test_another_tokenizer_than_the_one_that_scored(self, tokenizer_of):
        rows = random_rows(tokenizer_of("byte-level, BOS"), [("a", ""), ("a", "the cat sat")], 100, PUBLISHED)
        other = tokenizer_of("byte-level, BOS and EOS")
        with pytest.raises(BadInputError, match=r"row_id 1: it has \d+ token losses where \d+ .* is not the one that"):
            list(response_tokens(other, rows, "none", 100, PUBLISHED))

    def test_rows_without_the_losses(self, tokenizer_of):
        rows = random_rows(tokenizer_of("byte-level"), [("a", "b")], 100, PUBLISHED)
        rows = rows.remove_columns(["token_losses_A_direct", "token_losses_A_condition"])
        with pytest.raises(BadInputError, match="no column token_losses_A_direct: score them with --keep_token_losses"):
            next(response_tokens(tokenizer_of("byte-level"), rows, "none", 100, PUBLISHED))

    def test_no_rows_give_nothing(self, tokenizer_of):
        rows = random_rows(tokenizer_of("byte-level"), [("a", "b")], 100, PUBLISHED).select([])
        assert list(response_tokens(tokenizer_of("byte-level"), rows, "none", 100, PUBLISHED)) == []


def record(**inputs):
    return StepRecord("score", 3, {}, inputs)


class TestLoading:
    def test_from_the_folder_of_the_record(self, quickstart):
        found = load_tokenizer(record(model=Source("folder", str(quickstart / "student"), "")))
        assert found.is_fast and found.model_max_length > 10**9

    def test_of_a_hub_id_that_is_not_in_the_cache(self):
        with pytest.raises(BadInputError, match=r"^the tokenizer of me/student: cannot be loaded \(.*\)$"):
            load_tokenizer(record(model=Source("hub", "me/student", "", "0" * 40)))

    def test_of_a_folder_that_is_gone(self, tmp_path):
        with pytest.raises(BadInputError, match="gone: the student's folder is not here; put it back"):
            load_tokenizer(record(model=Source("folder", str(tmp_path / "gone"), "")))

    def test_of_scores_that_no_student_took(self):
        with pytest.raises(BadInputError, match="step score names no student"):
            load_tokenizer(record(embedding_model=Source("hub", "me/embedder", "", "0" * 40)))

    def test_of_files_that_hold_none(self, quickstart, tmp_path):
        shutil.copy(quickstart / "student/config.json", tmp_path)
        with pytest.raises(BadInputError, match=rf"^--model {tmp_path}: "):
            open_tokenizer(str(tmp_path), None, f"--model {tmp_path}")
