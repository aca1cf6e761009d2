import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { InputError } from '../core/problem.js';
import { FORMATS, type Format } from './output.js';

/** `--set`, `--format`, `--quiet`: every command that reads a scenario. */
export interface ReadOptions {
  readonly set: readonly string[];
  readonly format: Format;
  readonly quiet?: boolean;
}

/** `--out`, `--overwrite`: every command that writes a folder. */
export interface WriteOptions {
  readonly out?: string;
  readonly overwrite?: boolean;
}

/** `--check`: every command that makes one run. */
export interface CheckOption {
  readonly check?: boolean;
}

/** `--parallel`, `--dry-run`: commands that run many candidates. */
export interface SweepCommandOptions extends ReadOptions, WriteOptions {
  readonly parallel: number;
  readonly dryRun?: boolean;
}

export const FORMAT_OPTION = { flags: '--format <format>', description: `of the result on stdout: ${FORMATS.join(', ')}` } as const;

export function addReadOptions(command: Command): Command {
  return command
    .option('--set <path=yaml>', 'set a field, as if it stood in the file; may be given more than once', (value: string, all: string[]) => [...all, value], [] as string[])
    .option(FORMAT_OPTION.flags, FORMAT_OPTION.description, parseFormat, 'table')
    .option('--quiet', 'no warnings and no progress on stderr');
}

export function addWriteOptions(command: Command): Command {
  return command.option('--out <dir>', 'output folder (default: out/NAME)').option('--overwrite', 'replace an existing output folder');
}

export function addCheckOption(command: Command): Command {
  return command.option('--check', 'verify all invariants (requests, blocks, tokens, causality) after every pass and tell their number on stderr; same results, many times slower');
}

export function addSweepOptions(command: Command): Command {
  return addWriteOptions(addReadOptions(command))
    .option('--parallel <n>', 'threads; never changes a result (default: all cores)', positiveInteger('--parallel'), availableParallelism())
    .option('--dry-run', 'print what would run, and run nothing');
}

/** Parser of a whole number from 1 on. Throws `InputError` (`E-RANGE`). */
export function positiveInteger(option: string): (text: string) => number {
  return (text) => {
    if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
    throw new InputError({ code: 'E-RANGE', path: option, what: `'${text}' is not a whole number from 1 on`, hint: `write ${option} 2` });
  };
}

/** Parser of one of some words. Throws `InputError` (`E-ENUM`). */
export function oneOf<T extends string>(option: string, values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((known) => known === text);
    if (value !== undefined) return value;
    throw new InputError({ code: 'E-ENUM', path: option, what: `'${text}' is not one of ${values.join(', ')}`, hint: 'choose one of these' });
  };
}

/** Parser of `--format`. Throws `InputError` (`E-ENUM`). */
export const parseFormat: (text: string) => Format = oneOf('--format', FORMATS);
