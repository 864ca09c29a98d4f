// Writes generated/operations.ts and generated/examples.ts from the .graphql files of src: each
// document, its comment, and the types of its variables and its answer by schema.graphql, which
// must allow it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  TypeInfo,
  buildSchema,
  getNamedType,
  isEnumType,
  isListType,
  isNonNullType,
  parse,
  typeFromAST,
  validate,
  visit,
  visitWithTypeInfo,
} from "graphql";

const SCALARS = { Boolean: "boolean", Float: "number", Int: "number", Timestamp: "number" };

const here = (name) => new URL(name, import.meta.url);
const read = (name) => readFileSync(here(name), "utf8");
const schema = buildSchema(read("../../schema.graphql"));

// Every scalar that is not a number is a string on the wire: exact prices, times, tickers.
function written(type, named) {
  if (isNonNullType(type)) return written(type.ofType, named).replace(/ \| null$/, "");
  if (isListType(type)) return `Array<${written(type.ofType, named)}> | null`;
  return `${named} | null`;
}

function leaf(type) {
  if (isEnumType(type))
    return type
      .getValues()
      .map(({ name }) => `"${name}"`)
      .join(" | ");
  return SCALARS[type.name] ?? "string";
}

function variables(operation) {
  const fields = operation.variableDefinitions.map(({ variable, type }) => {
    const known = typeFromAST(schema, type);
    const optional = isNonNullType(known) ? "" : "?";
    return `${variable.name.value}${optional}: ${written(known, leaf(getNamedType(known)))}`;
  });
  return `{ ${fields.join("; ")} }`;
}

function answer(operation) {
  const types = new TypeInfo(schema);
  return visit(
    operation,
    visitWithTypeInfo(types, {
      Field: {
        leave({ alias, name, selectionSet }) {
          const type = types.getType();
          const named = selectionSet ?? leaf(getNamedType(type));
          return `${(alias ?? name).value}: ${written(type, named)}`;
        },
      },
      SelectionSet: { leave: ({ selections }) => `{ ${selections.join("; ")} }` },
    }),
  ).selectionSet;
}

function typed(operation, text) {
  const name = operation.name.value;
  return [
    `export type ${name}Variables = ${variables(operation)};`,
    `export type ${name}Answer = ${answer(operation)};`,
    `export const ${name} = ${JSON.stringify(text)} as Operation<${name}Answer, ${name}Variables>;`,
  ].join("\n");
}

mkdirSync(here("generated"), { recursive: true });
for (const name of ["operations", "examples"]) {
  const source = read(`src/${name}.graphql`);
  const { definitions, ...document } = parse(source);
  const [fault] = validate(schema, { ...document, definitions });
  if (fault) throw new Error(`${name}.graphql: ${fault}`);
  const starts = [0, ...definitions.map(({ loc }) => loc.end)];
  const texts = definitions.map(({ loc }, index) => source.slice(starts[index], loc.end).trim());
  const lines = [
    `// Made by types.js from ${name}.graphql and schema.graphql.`,
    'import type { Operation } from "../src/query";',
    ...definitions.map((operation, index) => typed(operation, texts[index])),
  ];
  writeFileSync(here(`generated/${name}.ts`), `${lines.join("\n")}\n`);
}
