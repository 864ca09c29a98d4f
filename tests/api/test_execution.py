"""Lists of plain rows are executed sooner, and to the same answer."""

import pytest
import strawberry
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from quotes.api.execution import Executor


@strawberry.type
class Row:
    number: int
    text: str | None
    inner: "Row | None" = None

    @strawberry.field
    def doubled(self) -> int:
        return 2 * self.number


ROWS = [Row(number=1, text="one"), Row(number=2, text=None, inner=Row(number=3, text="three"))]
BROKEN = [*ROWS, Row(number="none", text=None)]  # type: ignore[arg-type]


@strawberry.type
class Query:
    @strawberry.field
    def rows(self) -> list[Row]:
        return ROWS

    @strawberry.field
    def broken(self) -> list[Row | None]:
        return BROKEN  # type: ignore[return-value]


USUAL, OURS = (
    strawberry.Schema(Query, execution_context_class=executor)
    for executor in (StrawberryGraphQLCoreExecutionContext, Executor)
)


@pytest.mark.parametrize(
    "query",
    [
        "{ rows { number text } }",
        "{ rows { n: number inner { number inner { text } } __typename } }",
        "{ rows { ...a inner { ...a } } } fragment a on Row { text ... on Row { number } }",
        "query ($no: Boolean = false) { rows { number text @include(if: $no) } }",
        "{ rows { number doubled } }",
        "{ broken { number } }",
        "{ broken { text } }",
        "{ rows { number } again: rows { text } }",
    ],
)
async def test_a_list_s_answer_is_that_of_the_usual_execution(query: str) -> None:
    usual, ours = await USUAL.execute(query), await OURS.execute(query)

    assert ours.data == usual.data
    assert [error.formatted for error in ours.errors or []] == [
        error.formatted for error in usual.errors or []
    ]
    assert list((ours.data or {}).keys()) == list((usual.data or {}).keys())
