"""Words, numbers and links of the charts, which stand in the page without any script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from hub_cards.tables import number_text

Cell = dict[str, str | None]


def short(value: float | None) -> str:
    """A number as short as its size allows; a dash where there is none."""
    if value is not None and abs(value) >= 1e6:
        return f"{value:.3g}"
    if value is not None and value == round(value):
        return f"{value:,.0f}"
    return number_text(value)


def percent(count: int, total: int) -> str:
    """`34 %`, with one digit behind the point where it is small, also where it is nearly everything."""
    if not total:
        return "0 %"
    share = 100 * count / total
    digits = 1 if count and count != total and not 9.95 <= share < 99 else 0
    return f"{share:.{digits}f} %"


def of(count: int, total: int) -> str:
    """`12 of 96 rows (13 %)`."""
    return f"{count:,} of {rows(total)} ({percent(count, total)})"


def rows(count: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{count:,} row{'s' * (count != 1)}"


def rows_link(**wanted: str | None) -> str:
    """The link that shows the rows which are as wanted; what is None is not asked for."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return "#/rows?" + urlencode(given, quote_via=quote)


def counted(count: int, link: str | None) -> int | tuple[int, str | None]:
    """A cell for `table` with its link, unless there are no rows to show."""
    return (count, link) if count else 0


def table(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> dict[str, Any]:
    """A table as the templates take it: the names of the columns, and lines of cells.

    Args:
        lines: of texts and numbers, or of a pair of one and of what it links to.
    """
    return {"head": list(head), "lines": [[_cell(content) for content in line] for line in lines]}


def _cell(content: Any) -> Cell:
    value, link = content if isinstance(content, tuple) else (content, None)
    return {"text": f"{value:,}" if isinstance(value, int) else str(value), "href": link}
