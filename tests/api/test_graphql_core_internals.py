"""What `quotes.api.execution` relies on of graphql-core and Strawberry is as it was.

Where a test here fails, that module has to be read beside the library's new release. What it makes
of them is compared with the ordinary execution by the tests of the plans.
"""

from graphql import FieldNode, GraphQLObjectType, parse
from graphql.execution.executor import Executor
from internals import lacking, parameters
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types import ExecutionContext

from quotes.api.execution import Execution, attribute_of, core_of, name_of, nodes_of, resolver_of
from quotes.api.schema import schema

QUERY = """
query ($all: Boolean!) {
  newest: latestPrice(ticker: "BTC") { ...shown }
  newest: latestPrice(ticker: "BTC") { at @include(if: $all) }
}
fragment shown on Quote { __typename price }
"""


def execution(*, all_: bool) -> Execution:
    return Execution.of(core_of(schema), parse(QUERY), {"all": all_}, None)


def test_the_methods_that_are_called_or_overridden_are_there() -> None:
    assert issubclass(StrawberryGraphQLCoreExecutionContext, Executor)
    assert parameters(Executor, ["execute_collected_root_fields", "build_per_event_executor"]) == {
        "execute_collected_root_fields": (
            "root_type, root_value, grouped_field_set, serially, new_defer_usages"
        ),
        "build_per_event_executor": "payload",
    }
    assert parameters(Executor, ["collect_subfields"]) == {
        "collect_subfields": "return_type, field_details_list"
    }


def test_an_operation_has_the_fields_it_selects() -> None:
    core = core_of(schema)
    query, shown = core.query_type, core.type_map["Quote"]
    assert isinstance(query, GraphQLObjectType)
    assert isinstance(shown, GraphQLObjectType)

    ((key, places),) = execution(all_=True).root_fields(query).items()

    assert (key, name_of(places)) == ("newest", "latestPrice")
    assert [type(each) for each in nodes_of(places)] == [FieldNode, FieldNode]
    for all_, fields in ((True, ["__typename", "price", "at"]), (False, ["__typename", "price"])):
        selected = execution(all_=all_).selected(shown, places)
        assert (list(selected.fields), selected.in_parts) == (fields, False)


def test_executors_of_one_subscription_s_events_share_a_dict_but_for_ours() -> None:
    first = execution(all_=True)
    others = [first.build_per_event_executor(None) for _ in range(2)]

    assert first._relevant_sub_fields is not others[0]._relevant_sub_fields
    assert others[0]._relevant_sub_fields is not others[1]._relevant_sub_fields
    shared = Executor.build_per_event_executor(first, None)
    assert shared._relevant_sub_fields is first._relevant_sub_fields


def test_a_field_leads_to_its_attribute_or_its_resolver() -> None:
    core = core_of(schema)
    query, shown, introspection = (core.type_map[each] for each in ("Query", "Quote", "__Type"))
    assert isinstance(query, GraphQLObjectType)
    assert isinstance(shown, GraphQLObjectType)
    assert isinstance(introspection, GraphQLObjectType)

    resolver, names = resolver_of(schema, query.fields["latestPrice"])

    assert attribute_of(shown.fields["observedAt"]) == "observed_at"
    assert attribute_of(query.fields["latestPrice"]) is None
    assert attribute_of(introspection.fields["kind"]) is None
    assert resolver.__name__ == "latest_price"
    assert names["maxAge"] == "max_age"


def test_a_request_s_context_has_what_the_extensions_read_and_set() -> None:
    context = ExecutionContext(
        query=QUERY,
        schema=schema,
        context=None,
        root_value=None,
        variables=None,
        allowed_operations=(),
        provided_operation_name=None,
    )

    assert context._provided_operation_name is None
    assert lacking(context, "graphql_document pre_execution_errors query result schema") == []
