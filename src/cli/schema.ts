import type { Command } from 'commander';
import { InputError } from '../core/problem.js';
import { jsonSchema, SCHEMA_KINDS } from '../scenario/json-schema.js';
import { jsonText, print } from './output.js';

/** `schema [scenario|sweep|gate]`: the JSON Schema of a kind of file, for editors. */
export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of scenario, sweep or gate files')
    .argument('[kind]', SCHEMA_KINDS.join(', '), 'scenario')
    .action((kind: string) => {
      const known = SCHEMA_KINDS.find((name) => name === kind);
      if (!known) throw new InputError({ code: 'E-ENUM', path: 'schema', what: `'${kind}' is not one of ${SCHEMA_KINDS.join(', ')}`, hint: 'choose one of these' });
      print(jsonText(jsonSchema(known)));
    });
}
