import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv, type ValidateFunction } from 'ajv';
import { parse } from 'yaml';
import type { DgdApi } from '../../src/deploy/dynamo.js';

/** Folder `shared` beside the checkout: the published CRDs and specifications, where present. */
const SHARED = fileURLToPath(new URL('../../../shared/', import.meta.url));
const CRD = `${SHARED}crds/nvidia.com_dynamographdeployments.yaml`;
const SPEC = `${SHARED}spec/dgd.md`;
export const hasCrds = existsSync(CRD);
export const hasSpec = existsSync(SPEC);

type Node = Record<string, unknown>;
const compiled = new Map<DgdApi, ValidateFunction>();

/** Errors of the published schema of one API version, unknown fields included; null = none. */
export function crdErrors(manifest: unknown, api: DgdApi): string | null {
  const validate = compiled.get(api) ?? compile(api);
  return validate(manifest) ? null : JSON.stringify(validate.errors);
}

function compile(api: DgdApi): ValidateFunction {
  const crd = parse(readFileSync(CRD, 'utf8')) as { spec: { versions: { name: string; schema: { openAPIV3Schema: Node } }[] } };
  const schema = crd.spec.versions.find(({ name }) => name === api)!.schema.openAPIV3Schema;
  (schema['properties'] as Node)['metadata'] = { type: 'object' };
  const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(strict(schema) as Node);
  compiled.set(api, validate);
  return validate;
}

/** OpenAPI v3 of Kubernetes → JSON Schema that refuses unknown fields. */
function strict(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(strict);
  if (typeof node !== 'object' || node === null) return node;
  const result = Object.fromEntries(Object.entries(node as Node).map(([key, value]) => [key, strict(value)]));
  const type = result['x-kubernetes-int-or-string'] === true ? ['integer', 'string'] : result['type'];
  if (type !== undefined) result['type'] = result['nullable'] === true ? [type, 'null'].flat() : type;
  delete result['nullable'];
  if (isSchemaOfFields(result)) result['additionalProperties'] = false;
  return result;
}

/** `properties` of a schema are schemas; a field that happens to be called so is not. */
function isSchemaOfFields(node: Node): boolean {
  const properties = node['properties'];
  return node['type'] !== undefined && typeof properties === 'object' && node['additionalProperties'] === undefined && node['x-kubernetes-preserve-unknown-fields'] !== true;
}

/** The DynamoGraphDeployment objects in the YAML blocks of one section of the specification. */
export function specExamples(section: string): Node[] {
  const text = readFileSync(SPEC, 'utf8');
  const start = text.indexOf(`### ${section} `);
  const body = text.slice(start, text.indexOf('\n##', start + 4));
  return [...body.matchAll(/```yaml\n([\s\S]*?)```/g)]
    .flatMap(([, block]) => block!.split(/^---$/m))
    .map((document) => parse(document) as Node)
    .filter(({ kind }) => kind === 'DynamoGraphDeployment');
}
