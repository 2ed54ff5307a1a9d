from reflection import statuses


def constants() -> set[str]:
    """Every status that the module names."""
    return {value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, str)}


def test_every_status_is_an_outcome_of_one_kind_and_has_a_meaning():
    kinds = [statuses.ADOPTED, statuses.EXTRACTION_FAILURES, statuses.GUARD_FAILURES, statuses.NO_TEXT, statuses.OPEN]
    alone = {statuses.NOT_RECORDED, statuses.PARENT_NOT_REFLECTED}
    named = [status for kind in kinds for status in kind] + sorted(alone)
    assert sorted(named) == sorted(constants())  # each once
    assert not set(statuses.REASONS) & set(statuses.ADOPTED)
    assert set(statuses.REASONS) | set(statuses.ADOPTED) == constants()
    for meaning in (statuses.REASONS | statuses.ADOPTED).values():
        assert len(meaning) > 10
        assert "\n" not in meaning


def test_what_is_not_worth_a_second_ask_is_what_no_sample_can_mend():
    final = set(statuses.REASONS) - statuses.WORTH_A_SECOND_ASK
    assert final == {
        "content_filter",
        "context_overflow",
        "oracle_error",
        "not_asked",
        "not_recorded",
        "parent_not_reflected",
    }
