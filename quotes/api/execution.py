"""graphql-core's executor, which executes nothing that costs too much, and retains no events."""

from typing import Any

from graphql import GraphQLObjectType
from graphql.execution.executor import Executor as CoreExecutor
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from quotes.api import cost
from quotes.api.context import Context, utc_now
from quotes.api.errors import bad_input


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Executes what has no plan, and what is wrong."""

    def execute_collected_root_fields(
        self,
        root_type: GraphQLObjectType,
        root_value: Any,
        grouped_field_set: Any,
        serially: bool,  # noqa: FBT001  # as it is overridden
        new_defer_usages: Any,
    ) -> Any:
        """Nothing is executed that costs too much, or is switched off. Raises RefusedError."""
        now = utc_now()
        if isinstance(self.context_value, Context):
            now = self.context_value.now()
            if not self.context_value.settings.introspection:
                _require_none_of_the_schema(grouped_field_set)
        cost.required(cost.of(self, root_type, grouped_field_set, now))
        return super().execute_collected_root_fields(
            root_type, root_value, grouped_field_set, serially, new_defer_usages
        )

    def build_per_event_executor(self, payload: Any) -> CoreExecutor[Any]:
        """Without what graphql-core retains of each event until a subscription ends.

        Its executors of one subscription's events share a dict keyed by the ids of lists that live
        as long as their event, so that it only ever grows (3.3.1 and 3.3.2: 1-13 KB an event).
        """
        executor = super().build_per_event_executor(payload)
        executor._relevant_sub_fields = {}  # noqa: SLF001  # it has no other way in
        return executor


def _require_none_of_the_schema(fields: Any) -> None:
    names = {details[0].node.name.value for details in fields.values()}
    if names & {"__schema", "__type"}:
        raise bad_input(
            "The schema cannot be queried here; this service's release has it as `schema.graphql`."
        )
