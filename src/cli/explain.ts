import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import Papa from 'papaparse';
import { CODES } from '../core/codes.js';
import { InputError } from '../core/problem.js';
import { describeField, guessField, type FieldDescription } from '../scenario/describe.js';
import { suggest } from '../scenario/suggest.js';
import { addReadOptions, type ReadOptions } from './options.js';
import { jsonText, print, type Format } from './output.js';
import { PRESETS, type PresetRow } from './presets.js';
import { textTable } from './text-table.js';
import { yamlText } from './yaml-text.js';

/** `explain presets [KIND]`, `explain FIELD`, `explain CODE`, `explain timing FILE`, `explain RUN`: what may be written, what a message means, where pass times come from, where the time of requests went. */
export function registerExplain(program: Command): void {
  addReadOptions(
    program
      .command('explain')
      .description('presets (models, hardware, backends, recipes, links), a field, an error code, the pass times and memory of a scenario, or where the time of the requests of a run went')
      .argument('<what>', 'presets, the path of a field such as deployment.agg.tp, a code such as E-FIT, timing (of FILE, else the field), or a run: a folder that run wrote or a scenario file')
      .argument('[kind]', `with presets: ${Object.keys(PRESETS).join(', ')}; with timing: a scenario file, - = standard input; with run: a run whose name is also a field`),
  )
    .option('--oracle', 'of a run: what each routing decision cost by the oracle at its moment, and what the oracle as router would have made of the run; csv: one row per decision')
    .action(explain);
}

async function explain(what: string, kind: string | undefined, options: ReadOptions & { readonly oracle?: boolean }): Promise<void> {
  const { format } = options;
  if (what === 'run' && kind !== undefined) return (await import('./explain-run.js')).explainRun(kind, options);
  if (kind === undefined && !isWord(what) && existsSync(what)) return (await import('./explain-run.js')).explainRun(what, options);
  if (options.oracle === true) throw new InputError({ code: 'E-NO-EFFECT', path: '--oracle', what: `'explain ${what}' explains no run`, hint: 'remove it, or name a run folder or a scenario file' });
  if (what === 'timing' && kind !== undefined) return (await import('./explain-timing.js')).explainTiming(kind, options);
  if (options.set.length > 0) throw new InputError({ code: 'E-NO-EFFECT', path: '--set', what: `'explain ${what}' reads no scenario`, hint: "remove it, or use 'explain timing FILE'" });
  if (what === 'presets') return print(presets(kind, format));
  if (kind !== undefined) throw new InputError({ code: 'E-ENUM', path: 'explain', what: `'${kind}' says nothing after '${what}'`, hint: 'only presets has kinds, timing a file, and run a run' });
  print(/^[EW]-/.test(what) ? code(what, format) : field(what, format));
}

/** Words mean the same whatever the current folder holds. */
function isWord(what: string): boolean {
  return what === 'presets' || Object.hasOwn(CODES, what) || describeField(what) !== null;
}

function presets(kind: string | undefined, format: Format): string {
  const names = Object.keys(PRESETS);
  if (kind !== undefined && !names.includes(kind)) {
    const guess = suggest(kind, names);
    throw new InputError({ code: 'E-ENUM', path: 'explain presets', what: `'${kind}' is not one of ${names.join(', ')}`, hint: guess ? `did you mean '${guess}'?` : 'choose one of these' });
  }
  const sections = Object.fromEntries((kind === undefined ? names : [kind]).map((name) => [name, PRESETS[name]!()]));
  switch (format) {
    case 'json':
      return jsonText(sections);
    case 'yaml':
      return yamlText(sections);
    case 'csv': {
      if (kind === undefined) throw new InputError({ code: 'E-MISSING', path: 'explain presets', what: 'csv is one table', hint: `name one of ${names.join(', ')}` });
      return Papa.unparse(sections[kind]!.map(flat), { newline: '\n' });
    }
    case 'table':
      return Object.entries(sections)
        .map(([name, rows]) => `${name}\n${table(rows)}`)
        .join('\n\n');
  }
}

/** Lists as one cell. */
function flat(row: PresetRow): Record<string, string | number | boolean | null> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Array.isArray(value) ? value.join(' ') : (value as string | number | boolean | null)]));
}

function table(rows: readonly PresetRow[]): string {
  const head = Object.keys(rows[0] ?? {}).filter((name) => name !== 'aliases');
  const right = head.filter((name) => rows.some((row) => typeof row[name] === 'number'));
  return textTable(head, rows.map((row) => head.map((name) => cell(flat(row)[name] ?? null))), right);
}

const cell = (value: string | number | boolean | null): string => (value === null || value === '' ? '-' : String(value));

function code(name: string, format: Format): string {
  const meaning = Object.hasOwn(CODES, name) ? CODES[name] : undefined;
  if (meaning === undefined) {
    const guess = suggest(name, Object.keys(CODES));
    throw new InputError({ code: 'E-ENUM', path: 'explain', what: `no code '${name}'`, hint: guess ? `did you mean '${guess}'?` : `known: ${Object.keys(CODES).join(', ')}` });
  }
  return record({ code: name, meaning }, `${name}: ${meaning}`, format);
}

function field(path: string, format: Format): string {
  const found = describeField(path);
  if (found === null) {
    const guess = guessField(path);
    throw new InputError({ code: 'E-FIELD', path: 'explain', what: `no field '${path}'`, hint: guess ? `did you mean '${guess}'?` : "'dynotwin schema' lists every field; a run is named by its folder or scenario file" });
  }
  if (format === 'csv') return Papa.unparse([{ path: found.path, doc: found.doc, takes: found.takes, default: found.default }, ...found.fields.map((one) => ({ path: `${found.path}.${one.name}`, doc: one.doc, takes: null, default: one.default }))], { newline: '\n' });
  return record({ ...found }, fieldText(found), format);
}

function fieldText({ path, doc, takes, default: fallback, fields, later }: FieldDescription): string {
  const lines = [`${path}: ${doc}`, `  takes    ${takes}`, ...(fallback === null ? [] : [`  default  ${fallback}`])];
  if (later.length > 0) lines.push(`  not yet  ${later.join(', ')}`);
  const inside = fields.length === 0 ? [] : [textTable(['field', 'default', 'what'], fields.map((one) => [one.name, one.default ?? '-', one.doc]))];
  return [...lines, ...inside].join('\n');
}

function record(value: Record<string, unknown>, text: string, format: Format): string {
  switch (format) {
    case 'json':
      return jsonText(value);
    case 'yaml':
      return yamlText(value);
    case 'csv':
      return Papa.unparse([value], { newline: '\n' });
    case 'table':
      return text;
  }
}
