import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.spans import ALIGNED, NOTHING, PUBLISHED, PairSpans, SpecialTokens, TargetSpan, encode_pairs

# Where tokenizers differ: spaces, punctuation that may merge with a prompt's colon, new lines, unknown characters.
PIECES = ["the", " cat", "The", " and", ":", '"', "!", ".", "\n", "\n\n", " ", "  ", "1", "é", "😀", "ing", "-", "Yes"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=6)
PROPERTY = settings(max_examples=60, deadline=None)


def encoded(tokenizer, context: str, target: str, max_length: int = 1000, span: str = PUBLISHED) -> PairSpans:
    (found,) = encode_pairs(tokenizer, [context], [target], max_length, span)
    return found


def ids_of(tokenizer, text: str) -> list[int]:
    return tokenizer(text)["input_ids"]


def bare(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def bos_of(tokenizer) -> list[int]:
    return ids_of(tokenizer, "")[:1]


def predictions(span: TargetSpan) -> list[tuple[tuple[int, ...], int]]:
    """Every scored token with all that precedes it: what the losses depend on."""
    first = max(span.start, 1)
    return [(span.ids[:position], span.ids[position]) for position in range(first, len(span.ids))]


class TestPublished:
    """methods 5: tokenized jointly, the target begins at token number len(tokenize(context))."""

    @PROPERTY
    @given(context=TEXTS, target=TEXTS.filter(bool), max_length=st.integers(2, 40))
    def test_is_the_published_recipe(self, tokenizer, context, target, max_length):
        found = encoded(tokenizer, context, target, max_length)
        start, joint, alone = (
            len(ids_of(tokenizer, context)),
            ids_of(tokenizer, context + target),
            ids_of(tokenizer, target),
        )
        limit = max_length - min(start, max_length) + 1
        wanted_condition = [(tuple(joint[:p]), joint[p]) for p in range(max(start, 1), min(len(joint), max_length))]
        wanted_direct = [(tuple(alone[:p]), alone[p]) for p in range(1, min(len(alone), limit))]
        assert predictions(found.condition) == wanted_condition
        assert predictions(found.direct) == wanted_direct
        assert found.condition.ids == tuple(joint[:max_length])
        assert found.condition.truncated == (len(joint) > max_length)
        assert found.direct.truncated == (len(alone) > limit)
        assert found.n_target == len(bare(tokenizer, target))

    def test_by_hand(self, tokenizer_of):
        tokenizer = tokenizer_of("byte-level, BOS")
        context, target = "USER: hi ASSISTANT:", " hello there, my friend"
        n_context = len(ids_of(tokenizer, context))
        whole, cut = (encoded(tokenizer, context, target, limit) for limit in (100, n_context + 2))
        assert whole.condition.start == n_context
        assert tokenizer.decode(whole.condition.ids[whole.condition.start :]) == target
        assert tokenizer.decode(whole.direct.ids[whole.direct.start :]) == target
        assert not whole.condition.truncated and not whole.direct.truncated
        assert cut.condition.ids == whole.condition.ids[: n_context + 2]
        assert cut.condition.n_scored == cut.direct.n_scored == 2
        assert cut.condition.truncated and cut.direct.truncated

    def test_a_context_that_fills_the_limit_leaves_nothing(self, tokenizer):
        found = encoded(tokenizer, "the cat and the dog " * 10, "Yes it is.", 20)
        assert len(found.condition.ids) == 20
        assert found.condition.n_scored == found.direct.n_scored == 0
        assert found.condition.truncated and found.direct.truncated

    def test_an_answer_that_merges_with_its_prompt_loses_that_token(self, tokenizer_of):
        tokenizer = tokenizer_of("byte-level, BOS")
        context, target = "It was a ta", "ble"
        pieces = [len(bare(tokenizer, text)) for text in (context, target, context + target)]
        assert pieces[2] < pieces[0] + pieces[1]  # or this example shows nothing
        found = encoded(tokenizer, context, target)
        assert found.boundary_merged and found.depends_on_span
        assert found.condition.n_scored == 1 + pieces[2] - len(ids_of(tokenizer, context))
        assert found.condition.n_scored < found.n_target == found.direct.n_scored


class TestAligned:
    """Tokenized apart and joined: the same target tokens with and without context."""

    @PROPERTY
    @given(context=TEXTS, target=TEXTS.filter(bool), max_length=st.integers(2, 40))
    def test_is_context_and_target_tokenized_apart(self, tokenizer, context, target, max_length):
        found = encoded(tokenizer, context, target, max_length, ALIGNED)
        bos = bos_of(tokenizer)
        head = bos + bare(tokenizer, context)
        own = bare(tokenizer, target)
        kept = own[: max(max_length - len(head), 0)]
        first = 0 if bos else 1
        assert [token for _, token in predictions(found.condition)] == kept[first:]
        assert [token for _, token in predictions(found.direct)] == kept[first:]
        assert found.condition.ids == tuple(head + kept)[:max_length]
        assert found.direct.ids == tuple(bos + kept)
        assert found.condition.truncated == found.direct.truncated == (len(kept) < len(own))
        assert found.n_target == len(own)

    @pytest.mark.parametrize("max_length", [60, 200])
    def test_both_sides_count_the_same_tokens_of_real_rows(self, tokenizer, real_rows, max_length):
        contexts = [f"USER: {text} ASSISTANT:" for text in real_rows["instruction"]]
        pairs = encode_pairs(tokenizer, contexts, real_rows["output"], max_length, ALIGNED)
        for pair in pairs:
            scored = [[token for _, token in predictions(span)] for span in (pair.condition, pair.direct)]
            assert scored[0] == scored[1]
        assert any(pair.condition.truncated for pair in pairs)
        assert any(pair.condition.n_scored for pair in pairs)

    def test_without_bos_the_first_token_counts_on_neither_side(self, tokenizer_of):
        found = encoded(tokenizer_of("byte-level"), "Say it:", " hello there", span=ALIGNED)
        assert found.condition.n_scored == found.direct.n_scored == found.n_target - 1 > 0

    def test_an_end_of_text_is_no_target(self, tokenizer_of):
        found = encoded(tokenizer_of("byte-level, BOS and EOS"), "Say it:", " hello", span=ALIGNED)
        assert 1 not in found.condition.ids and 1 not in found.direct.ids


class TestCounts:
    @PROPERTY
    @given(context=TEXTS, target=TEXTS.filter(bool), max_length=st.integers(2, 40))
    def test_say_what_they_say(self, tokenizer, context, target, max_length):
        published, aligned = (encoded(tokenizer, context, target, max_length, span) for span in (PUBLISHED, ALIGNED))
        apart = bare(tokenizer, context) + bare(tokenizer, target)
        merged = bare(tokenizer, context + target) != apart
        assert published.boundary_merged == aligned.boundary_merged == merged
        differs = any(
            predictions(getattr(published, kind)) != predictions(getattr(aligned, kind))
            for kind in ("condition", "direct")
        )
        assert published.depends_on_span == aligned.depends_on_span == differs

    def test_a_row_of_which_nothing_is_scored_either_way_does_not_depend_on_the_span(self, tokenizer):
        pairs = [encoded(tokenizer, "the cat and the dog " * 10, "Yes.", 20, span) for span in (PUBLISHED, ALIGNED)]
        assert all(pair.condition.n_scored == pair.direct.n_scored == 0 for pair in pairs)
        assert [pair.depends_on_span for pair in pairs] == [False, False]

    @pytest.mark.parametrize(
        ("kind", "merged", "depends"),
        [
            ("byte-level", False, True),
            ("byte-level, BOS", False, False),
            ("byte-level, BOS and EOS", False, True),
            ("SentencePiece-like, BOS", True, True),
        ],
    )
    def test_of_a_plain_row(self, tokenizer_of, kind, merged, depends):
        """Without BOS and with EOS the spans always differ; a dummy space makes every pair of texts differ."""
        found = encoded(tokenizer_of(kind), "Say hello.\n", "Hello there")
        assert (found.boundary_merged, found.depends_on_span) == (merged, depends)


def test_an_empty_target_is_nothing(tokenizer):
    for span in (PUBLISHED, ALIGNED):
        assert encoded(tokenizer, "the cat", "", span=span) == PairSpans(NOTHING, NOTHING, 0, False, False)


def test_many_pairs_are_each_encoded_as_alone(tokenizer, real_rows):
    contexts, targets = real_rows["instruction"][:12], [*real_rows["output"][:11], ""]
    for span in (PUBLISHED, ALIGNED):
        together = encode_pairs(tokenizer, contexts, targets, 60, span)
        apart = [encoded(tokenizer, *pair, 60, span) for pair in zip(contexts, targets, strict=True)]
        assert together == apart


@pytest.mark.parametrize(
    ("kind", "special"),
    [
        ("byte-level", SpecialTokens(0, 0)),
        ("byte-level, BOS", SpecialTokens(1, 0)),
        ("byte-level, BOS and EOS", SpecialTokens(1, 1)),
        ("SentencePiece-like, BOS", SpecialTokens(1, 0)),
    ],
)
def test_special_tokens_are_counted(tokenizer_of, kind, special):
    tokenizer = tokenizer_of(kind)
    assert SpecialTokens.of(tokenizer) == special
    assert list(special.strip(ids_of(tokenizer, "the cat"))) == bare(tokenizer, "the cat")


@pytest.mark.parametrize(
    ("n_ids", "start", "first", "count"),
    [(5, 0, 1, 4), (5, 1, 1, 4), (5, 4, 4, 1), (5, 5, 5, 0), (3, 9, 9, 0), (0, 0, 1, 0)],
)
def test_a_first_token_has_no_prediction(n_ids, start, first, count):
    span = TargetSpan(tuple(range(n_ids)), start, truncated=False)
    assert (span.first_scored, span.n_scored) == (first, count)
