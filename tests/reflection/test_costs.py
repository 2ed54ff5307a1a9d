import pytest

from reflection.costs import Price, Usage, find_price, price_table


class TestFindPrice:
    # Dollars per million tokens by the price list that the table was copied from.
    @pytest.mark.parametrize(
        ("model", "expected"),
        [
            ("gpt-4.1-mini", (0.4, 1.6)),
            ("gpt-4.1-mini-2025-04-14", (0.4, 1.6)),
            ("gpt-4.1", (2, 8)),
            ("gpt-4-0613", (30, 60)),
            ("gpt-3.5-turbo-0125", (0.5, 1.5)),
            ("o3", (2, 8)),
        ],
    )
    def test_by_the_name_with_or_without_a_date(self, model, expected):
        price = find_price(model, own_endpoint=False)
        assert (price.input, price.output, price.batch_fraction) == (*expected, 0.5)
        assert price.source == f"the table of {price_table()['as_of']}"

    @pytest.mark.parametrize(
        "model", ["gpt-4.1-mini-ft", "my-gpt-4.1", "gpt-4.1-2025", "", None, "GPT-4.1", "gpt-4.1-mini-2025-04-14-2"]
    )
    def test_of_another_name_is_not_known(self, model):
        found = find_price(model, own_endpoint=False)
        if model == "gpt-4.1-2025":  # four digits are a date
            assert (found.input, found.output) == (2, 8)
        else:
            assert found is None

    def test_at_an_endpoint_of_ones_own_is_not_known(self):
        assert find_price("gpt-4.1", own_endpoint=True) is None

    @pytest.mark.parametrize("own_endpoint", [True, False])
    @pytest.mark.parametrize("model", ["gpt-4.1", "mine"])
    def test_the_users_own_wins(self, model, own_endpoint):
        assert find_price(model, own_endpoint, 0.0, 3.0) == Price(0.0, 3.0, 0.5, "--price_in and --price_out")

    def test_half_of_the_users_own_does_not_count(self):
        assert find_price("mine", False, 1.0, None) is None

    def test_every_entry_of_the_table_can_be_used(self):
        table = price_table()
        assert set(table["answer_tokens"]) == {"reflect_instruction", "reflect_response", "reflect_both"}
        for model in table["models"]:
            price = find_price(model, own_endpoint=False)
            assert 0 < price.input < price.output


class TestDollars:
    PRICE = Price(2.0, 8.0, 0.5, "here")

    def test_are_by_the_million(self):
        # 1,500,000 in at $2 and 250,000 out at $8 a million
        assert self.PRICE.dollars(1_500_000, 250_000) == pytest.approx(3 + 2)
        assert self.PRICE.dollars(1, 0) == pytest.approx(0.000002)
        assert self.PRICE.dollars(0, 0) == 0

    def test_of_a_batch_are_half(self):
        assert self.PRICE.dollars(1_500_000, 250_000, batched=True) == pytest.approx(2.5)


class TestUsage:
    PRICE = Price(1_000_000.0, 2_000_000.0, 0.5, "here")  # a dollar a token in, two a token out

    def test_counts_a_key_once(self):
        usage = Usage(self.PRICE)
        assert usage.add("a", 3, 4, batched=False) == pytest.approx(11)
        assert usage.add("a", 3, 4, batched=False) == 0
        assert usage.add("b", 3, 4, batched=True) == pytest.approx(5.5)
        assert (usage.completions, usage.prompt_tokens, usage.completion_tokens) == (2, 6, 8)
        assert usage.dollars == pytest.approx(16.5)
        assert usage.without_usage == 0

    def test_of_an_unknown_length_is_told_apart(self):
        usage = Usage(self.PRICE)
        assert usage.add("a", None, None, batched=False) == 0
        assert usage.add("a", None, None, batched=False) == 0
        assert usage.add("b", 3, None, batched=False) == pytest.approx(3)
        assert usage.add("c", None, 4, batched=False) == pytest.approx(8)
        assert usage.add("d", 0, 0, batched=False) == 0
        assert (usage.completions, usage.without_usage) == (4, 1)

    def test_as_text(self):
        usage = Usage(self.PRICE)
        usage.add("a", 1234, 5, batched=False)
        assert usage.as_text() == "1,234 tokens in, 5 out, $1,244.00"
        assert Usage(None).as_text() == "0 tokens in, 0 out"

    def test_for_record(self):
        usage = Usage(Price(0.4, 1.6, 0.5, "here"))
        usage.add("a", 1000, 100, batched=False)
        assert usage.for_record() == {
            "completions": 1,
            "without_usage": 0,
            "prompt_tokens": 1000,
            "completion_tokens": 100,
            "cost_usd": 0.00056,
            "usd_per_million_tokens": {"input": 0.4, "output": 1.6, "source": "here"},
        }
        free = Usage(None)
        assert free.add("a", 1000, 100, batched=False) == 0
        assert free.for_record() == {
            "completions": 1,
            "without_usage": 0,
            "prompt_tokens": 1000,
            "completion_tokens": 100,
        }
