import type { Command } from 'commander';
import { InputError } from '../core/problem.js';
import { jsonSchema } from '../scenario/json-schema.js';
import { jsonText, print } from './output.js';

/** `schema [scenario|sweep]`: the JSON Schema of a kind of file, for editors. */
export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of scenario or sweep files')
    .argument('[kind]', 'scenario or sweep', 'scenario')
    .action((kind: string) => {
      if (kind !== 'scenario' && kind !== 'sweep') {
        throw new InputError({ code: 'E-ENUM', path: 'schema', what: `'${kind}' is not one of scenario, sweep`, hint: 'choose one of these' });
      }
      print(jsonText(jsonSchema(kind)));
    });
}
