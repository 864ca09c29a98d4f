"""What is internal to graphql-core and Strawberry, and relied on: nothing else knows it.

Those of graphql-core 3.3.2 and Strawberry 0.341.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, TypeAlias

from graphql import DocumentNode, FieldNode, GraphQLField, GraphQLObjectType, GraphQLSchema
from graphql.execution.collect_fields import collect_fields
from graphql.execution.executor import Executor
from strawberry import Schema
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types import ExecutionContext

_DEFINITION = "strawberry-definition"  # the extension that holds Strawberry's own field

Places: TypeAlias = Any  # where a document selects one field of an answer


class Selected(NamedTuple):
    """What is selected of an object, by the keys of the answer."""

    fields: Mapping[str, Places]
    in_parts: bool  # whether some of it is to be delivered later


class Execution(StrawberryGraphQLCoreExecutionContext):
    """One operation's. What it selects has its fragments spread, and its directives resolved."""

    @classmethod
    def of(
        cls,
        core: GraphQLSchema,
        document: DocumentNode,
        variables: dict[str, Any],
        operation_name: str | None,
    ) -> Self:
        """Of a valid document, with variables that are."""
        execution = cls.build(
            core, document, raw_variable_values=variables, operation_name=operation_name
        )
        assert isinstance(execution, cls)
        return execution

    def check(self, root: GraphQLObjectType, fields: Mapping[str, Places]) -> None:
        """Raise what is answered in place of anything else; to be overridden."""

    def root_fields(self, root: GraphQLObjectType) -> Mapping[str, Places]:
        return collect_fields(
            self.schema, self.fragments, self.variable_values, root, self.operation
        ).grouped_field_set

    def selected(self, kind: GraphQLObjectType, places: Places) -> Selected:
        """Of the object that one field's answer is."""
        collected = self.collect_subfields(kind, places)
        return Selected(collected.grouped_field_set, bool(collected.new_defer_usages))

    def execute_collected_root_fields(
        self,
        root_type: GraphQLObjectType,
        root_value: Any,
        grouped_field_set: Any,
        serially: bool,  # noqa: FBT001  # as it is overridden
        new_defer_usages: Any,
    ) -> Any:
        self.check(root_type, grouped_field_set)
        return super().execute_collected_root_fields(
            root_type, root_value, grouped_field_set, serially, new_defer_usages
        )

    def build_per_event_executor(self, payload: Any) -> Executor[Any]:
        """Without what graphql-core retains of each event until a subscription ends.

        Its executors of one subscription's events share a dict keyed by the ids of lists that live
        as long as their event, so that it only ever grows (3.3.1 and 3.3.2: 1-13 KB an event).
        """
        executor = super().build_per_event_executor(payload)
        executor._relevant_sub_fields = {}  # noqa: SLF001  # it has no other way in
        return executor


def name_of(places: Places) -> str:
    """The field's, in the schema."""
    return str(places[0].node.name.value)


def nodes_of(places: Places) -> tuple[FieldNode, ...]:
    return tuple(each.node for each in places)


def core_of(schema: Schema) -> GraphQLSchema:
    """graphql-core's own schema, which has no public name in Strawberry."""
    return schema._schema  # noqa: SLF001


def attribute_of(field: GraphQLField) -> str | None:
    """The attribute that a field shows; None where it has a resolver, or is introspection's."""
    definition = field.extensions.get(_DEFINITION)
    return definition.python_name if definition and definition.is_basic_field else None


def resolver_of(schema: Schema, field: GraphQLField) -> tuple[Callable[..., Any], dict[str, str]]:
    """A field's resolver, and the names of its parameters by those of the field's arguments."""
    definition = field.extensions[_DEFINITION]
    name_of = schema.config.name_converter.from_argument
    names = {name_of(each): each.python_name for each in definition.arguments}
    return definition.base_resolver.wrapped_func, names


def names_its_operation(context: ExecutionContext) -> bool:
    """Whether the request says which operation is meant; the property takes the first's name."""
    return context._provided_operation_name is not None  # noqa: SLF001
