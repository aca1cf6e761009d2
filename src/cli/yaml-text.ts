import { stringify } from 'yaml';

/** YAML text, final newline. Apart from the other outputs, as not every command needs the YAML library. */
export function yamlText(value: unknown): string {
  return stringify(value);
}
