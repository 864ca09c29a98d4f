"""GraphQL's rule that fields of one name in an answer are one field, in linear time.

graphql-core's own compares each two fields, and takes half a second for a document of 1,000 tokens.
This one compares each field with the first of its name, which is as much as long as no object has
another's place: the schema has neither interfaces nor unions.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValidationRule,
    ValueNode,
    VariableNode,
)

MAX_SELECTIONS = 1_000  # of all operations of a document, once their fragments are spread


class MergeableFields(ValidationRule):
    """Of a document that is otherwise valid."""

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._left = MAX_SELECTIONS

    def enter_operation_definition(self, operation: OperationDefinitionNode, *_: Any) -> None:
        pending = [[operation.selection_set]]
        while pending:
            for fields in self._merged(pending.pop()):
                self._require_one(fields)
                pending.append([each.selection_set for each in fields if each.selection_set])
                if self._left < 0:
                    self._report_too_many(operation)
                    return

    def _merged(self, objects: Sequence[SelectionSetNode]) -> Sequence[list[FieldNode]]:
        """What these select of one object, by the names in the answer."""
        fields: dict[str, list[FieldNode]] = {}
        for field in self._fields(objects):
            name = field.alias.value if field.alias else field.name.value
            fields.setdefault(name, []).append(field)
        return list(fields.values())

    def _fields(self, objects: Sequence[SelectionSetNode]) -> Iterator[FieldNode]:
        """With those of fragments, each of which is spread once."""
        spread: set[str] = set()
        pending: list[SelectionNode] = [
            each for selected in reversed(objects) for each in reversed(selected.selections)
        ]
        while pending and self._left >= 0:
            self._left -= 1
            selection = pending.pop()
            if isinstance(selection, FieldNode):
                yield selection
                continue
            if isinstance(selection, FragmentSpreadNode):
                name = selection.name.value
                fragment = None if name in spread else self.context.get_fragment(name)
                spread.add(name)
                inner = fragment.selection_set if fragment else None
            else:
                inner = selection.selection_set  # type: ignore[attr-defined]  # an inline fragment's
            pending += reversed(inner.selections) if inner else ()

    def _require_one(self, fields: Sequence[FieldNode]) -> None:
        first, *others = fields
        for other in others:
            if first.name.value != other.name.value:
                reason = f"'{first.name.value}' and '{other.name.value}' are different fields"
            elif _arguments(first) != _arguments(other):
                reason = "they have differing arguments"
            else:
                continue
            name = (first.alias or first.name).value
            self.report_error(
                GraphQLError(
                    f"Fields '{name}' conflict because {reason}. Use different aliases on the "
                    "fields to fetch both if this was intentional.",
                    [first, other],
                )
            )

    def _report_too_many(self, operation: OperationDefinitionNode) -> None:
        self.report_error(
            GraphQLError(
                f"The document selects more than {MAX_SELECTIONS:,} fields, once its fragments are "
                "spread. Ask for fewer, or in several requests.",
                operation,
            )
        )


def _arguments(field: FieldNode) -> Hashable:
    return frozenset((each.name.value, _value(each.value)) for each in field.arguments or ())


def _value(node: ValueNode) -> Hashable:
    """Equal for values that are written alike, but for white space."""
    if isinstance(node, VariableNode):
        return node.kind, node.name.value
    if isinstance(node, ListValueNode):
        return node.kind, tuple(map(_value, node.values))
    if isinstance(node, ObjectValueNode):
        return node.kind, frozenset((each.name.value, _value(each.value)) for each in node.fields)
    return node.kind, getattr(node, "value", None)
