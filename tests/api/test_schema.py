from graphql import GraphQLEnumType, GraphQLObjectType, is_introspection_type
from paths import ROOT

from quotes.api.schema import schema, sdl

PRINTED = ROOT / "schema.graphql"


def test_the_printed_schema_is_that_of_the_code() -> None:
    assert PRINTED.read_text() == sdl(), "run `./dev schema > schema.graphql`"


def test_every_type_field_argument_and_value_is_described() -> None:
    undescribed = []
    for name, kind in schema._schema.type_map.items():
        if is_introspection_type(kind) or name in {"String", "Int", "Boolean", "Float"}:
            continue
        undescribed += [name] if not kind.description else []
        if isinstance(kind, GraphQLObjectType):
            for field_name, field in kind.fields.items():
                undescribed += [f"{name}.{field_name}"] if not field.description else []
                undescribed += [
                    f"{name}.{field_name}({argument})"
                    for argument, described in field.args.items()
                    if not described.description
                ]
        if isinstance(kind, GraphQLEnumType):
            undescribed += [
                f"{name}.{value}"
                for value, described in kind.values.items()
                if not described.description
            ]

    assert undescribed == []
