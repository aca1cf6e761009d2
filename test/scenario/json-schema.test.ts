import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { jsonSchema } from '../../src/scenario/json-schema.js';
import { scenarioToYaml } from '../../src/scenario/to-yaml.js';
import { scenarioOf, scenarioText } from './support.js';

const ajv = new Ajv2020({ allowUnionTypes: true });
const validate = { scenario: ajv.compile(jsonSchema('scenario')), sweep: ajv.compile(jsonSchema('sweep')), gate: ajv.compile(jsonSchema('gate')) };
const shipped = join(import.meta.dirname, '../../scenarios');

describe('JSON Schema', () => {
  it.each(readdirSync(shipped).filter((name) => name.endsWith('.yaml')))('accepts %s', (name) => {
    const data: unknown = parse(readFileSync(join(shipped, name), 'utf8'));
    const kind = typeof data === 'object' && data !== null && 'space' in data ? 'sweep' : 'scenario';
    expect(validate[kind](data), ajv.errorsText(validate[kind].errors)).toBe(true);
  });

  it.each(readdirSync(join(shipped, 'regress')).filter((name) => name.endsWith('.yaml')))('accepts the gate %s, and not without its cases as a mapping', (name) => {
    const data = parse(readFileSync(join(shipped, 'regress', name), 'utf8')) as { gate: object };
    expect(validate.gate(data), ajv.errorsText(validate.gate.errors)).toBe(true);
    expect(validate.gate({ ...data, gate: { ...data.gate, cases: ['kv'] } })).toBe(false);
  });

  it('accepts resolved scenarios', () => {
    expect(validate.scenario(parse(scenarioToYaml(scenarioOf(scenarioText('router: kv\nslo: {ttft: 1 s}')))))).toBe(true);
  });

  it.each(['b01', 'b02', 'b05', 'b12'])('refuses %s', (name) => {
    expect(validate.scenario(parse(readFileSync(join(import.meta.dirname, `../fixtures/scenarios/${name}.yaml`), 'utf8')))).toBe(false);
  });
});
