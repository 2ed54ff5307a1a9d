from datasets import Dataset

from scoring.statistics import TABLE_COLUMNS, describe, mean


def test_means_are_over_the_scored_rows_only():
    columns = {column: [1.0, None, 4.0] for column in TABLE_COLUMNS.values()}
    described = describe(Dataset.from_dict(columns))
    assert described == {"rows": 3, **dict.fromkeys(TABLE_COLUMNS, 2.5)}


def test_no_number_at_all_is_null():
    assert mean([]) is None
    assert mean([None, None]) is None
