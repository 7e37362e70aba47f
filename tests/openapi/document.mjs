// The OpenAPI document as something to ask: which operation is this request, and does its answer keep the promise?
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

const file = fileURLToPath(new URL('../../nginx/www/openapi.yaml', import.meta.url));
export const document = parse(readFileSync(file, 'utf8'));

const METHODS = ['get', 'put', 'post', 'delete', 'patch'];
const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema(document, 'openapi');

/** Follows one $ref inside the document. */
export function resolve(node) {
  if (node?.$ref === undefined) return node;
  return resolve(pointer(node.$ref).reduce((at, key) => at[key], document));
}

const pointer = (ref) => ref.slice(2).split('/').map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
const escape = (key) => key.replaceAll('~', '~0').replaceAll('/', '~1');

/**
 * Every operation of the handlers: its method, path, where its object is in the document, and its parameters in one list.
 * What the relay serves is no exchange of JSON; the tests of its streams hold it.
 */
export const operations = Object.entries(document.paths).flatMap(([path, item]) =>
  METHODS.filter((method) => item[method] && item[method]['x-served-by'] !== 'relay').map((method) => ({
    name: `${method.toUpperCase()} ${path}`,
    method: method.toUpperCase(),
    path,
    object: item[method],
    parameters: [...(item.parameters ?? []), ...(item[method].parameters ?? [])].map(resolve),
    expression: new RegExp(`^${path.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{[^}]+\}/g, '([^/]+)')}$`),
  })));

const placeholders = (operation) => operation.path.split('{').length;

/** The operation of a request, and whether any has its path. Literal segments win over placeholders, as in the router. */
export function findOperation(method, path) {
  const fitting = operations.filter((operation) => operation.expression.test(path));
  const known = fitting.filter((operation) => placeholders(operation) === Math.min(...fitting.map(placeholders)));
  const wanted = method === 'HEAD' ? 'GET' : method;
  return { operation: known.find((operation) => operation.method === wanted), known: known.length > 0 };
}

const validators = new Map();
function validator(ref) {
  if (!validators.has(ref)) validators.set(ref, ajv.compile({ $ref: `openapi${ref}` }));
  return validators.get(ref);
}

/** Where the document describes this status of the operation ('#/...', its $ref followed); undefined if nowhere. */
function responsePlace(operation, status) {
  const own = operation?.object.responses[status];
  if (own?.$ref) return own.$ref;
  if (own) return `#/paths/${escape(operation.path)}/${operation.method.toLowerCase()}/responses/${status}`;
  const general = status === 405 ? operation === undefined : document['x-general-responses'][status] !== undefined;
  return general ? `#/x-general-responses/${status}` : undefined;
}

/** What every field and parameter can be told, as the document's table of errors says; the rest has an example of its own. */
const FIELD_ERROR = new RegExp('^[A-Za-z_]+(\\[\\d+\\])?(\\.[!-~]+)?:? ?[a-z_]* (is required|is not valid percent-encoded UTF-8|'
  + 'is not an ISO 8601 time|must not contain U\\+0000|must be (an integer|a string|true or false|an array|an object|'
  + 'at (most|least) \\d+( characters)?))$');
const withoutDetail = (error) => error.replace(/^(Missing required fields|Unknown event type|url: [A-Z][a-z]+ not allowed): .*/s, '$1')
  .replace(/^(headers must not have) \S+/, '$1').replace(/^headers\.\S+/, 'headers.X').replace(/\[\d+\]/g, '[]');

function isDocumented(error, media) {
  const general = document['x-general-responses'][400].content['application/json'];
  const examples = [...Object.values(media.examples ?? {}), ...Object.values(general.examples)];
  return FIELD_ERROR.test(error)
    || examples.some((example) => withoutDetail(String(resolve(example).value.error)) === withoutDetail(error));
}

function checkBody(place, content, exchange, problems) {
  const type = (exchange.headers['content-type'] ?? '').split(';')[0].trim();
  if (content === undefined) {
    if (exchange.body !== '') problems.push('has a body, and none is documented');
    return;
  }
  const media = Object.keys(content).find((name) => name.split(';')[0] === type);
  if (media === undefined) return void problems.push(`content type ${type} is not documented`);
  if (type !== 'application/json') return;
  let value;
  try {
    value = JSON.parse(exchange.body);
  } catch {
    return void problems.push('the body is not JSON');
  }
  const validate = validator(`${place}/content/${escape(media)}/schema`);
  if (!validate(value)) problems.push(ajv.errorsText(validate.errors, { dataVar: 'body' }));
  if (exchange.status >= 400 && value.error && !isDocumented(value.error, content[media])) {
    problems.push(`the error string is not among the examples: ${value.error}`);
  }
}

function checkHeaders(response, exchange, problems) {
  for (const [name, given] of Object.entries(response.headers ?? {})) {
    const header = resolve(given);
    const value = exchange.headers[name.toLowerCase()];
    if (value === undefined) {
      if (header.required) problems.push(`the header ${name} is missing`);
    } else if (header.schema) {
      const schema = resolve(header.schema);
      const typed = schema.type === 'integer' ? Number(value) : value;
      if (!ajv.validate({ ...schema }, typed)) problems.push(`the header ${name}: ${ajv.errorsText()}`);
    }
  }
}

/**
 * What is wrong with an exchange, as sentences; nothing when it is as documented.
 * @param exchange {method, path (without query), status, headers (names in lower case), body (text)}
 */
export function check(exchange) {
  const problems = [];
  const { operation, known } = findOperation(exchange.method, exchange.path);
  if (exchange.method === 'OPTIONS' && exchange.status === 204) return problems;
  const unknown = !known || exchange.path.includes('%');
  if (exchange.status === 404 && unknown && ['', '{"error":"Not found"}'].includes(exchange.body)) return problems;
  const place = responsePlace(operation, exchange.status);
  if (place === undefined) return [`status ${exchange.status} is not documented: ${exchange.body.slice(0, 200)}`];
  const response = pointer(place).reduce((at, key) => at[key], document);
  if (exchange.method !== 'HEAD') checkBody(place, response.content, exchange, problems);
  checkHeaders(response, exchange, problems);
  return problems;
}
