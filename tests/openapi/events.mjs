// The catalogue of events against the document, and what was really sent against the catalogue.
import { isDeepStrictEqual } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { document } from './document.mjs';

const { schemas } = document.components;
const names = (catalogue) => catalogue.map(({ name }) => name);
const family = (name) => (name.includes('.') ? [`${name.split('.')[0]}.*`] : []);
const differ = (text, one, other) => (isDeepStrictEqual(one, other) ? [] : [`${text}: ${JSON.stringify(one)}`]);

/** Where the document says something else of the events than the catalogue. */
export function catalogueProblems(catalogue) {
  const patterns = ['*', ...new Set(names(catalogue).flatMap(family))];
  return [
    ...differ('EventType', [...schemas.EventType.enum].sort(), names(catalogue).sort()),
    ...differ('EventPattern', [...schemas.EventPattern.anyOf[1].enum].sort(), patterns.sort()),
    ...differ('webhooks', Object.keys(document.webhooks).sort(), names(catalogue).sort()),
    ...differ('data.*', Object.keys(schemas).filter((key) => key.startsWith('data.')).sort(),
      names(catalogue).map((name) => `data.${name}`).sort()),
    ...catalogue.flatMap(({ name, description, schema, example }) => {
      const { post } = document.webhooks[name] ?? {};
      const media = post?.requestBody.content['application/json'];
      return [
        ...differ(`data.${name}`, schemas[`data.${name}`], schema),
        ...differ(`${name}, description`, post?.description, description),
        ...differ(`${name}, event`, media?.schema.properties.event.const, name),
        ...differ(`${name}, data`, media?.schema.properties.data, { $ref: `#/components/schemas/data.${name}` }),
        ...differ(`${name}, example`, media?.examples.sent.value.data, example),
      ];
    }),
  ];
}

/** The schema without room for members it does not name: ours must all be in it, while receivers are to expect more. */
function closed(schema) {
  const { properties, items } = schema;
  return {
    ...schema,
    ...(items && { items: closed(items) }),
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, closed(value)])),
      additionalProperties: false,
    }),
  };
}

/** Which events, given as {event, data}, and which examples do not fit their schemas. */
export function eventProblems(catalogue, events) {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, strictTypes: false, allErrors: true });
  addFormats.default(ajv);
  const validators = new Map(catalogue.map(({ name, schema }) => [name, ajv.compile(closed(schema))]));
  const examples = catalogue.map(({ name, example }) => ({ event: name, data: example }));
  return [...examples, ...events].filter(({ event }) => validators.has(event)).flatMap(({ event, data }) => {
    const validate = validators.get(event);
    return validate(data) ? [] : [`${event}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(data).slice(0, 200)}`];
  });
}
