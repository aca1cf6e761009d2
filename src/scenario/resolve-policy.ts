import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { besideFile, commandWordBeside, isCommandPath, isModulePath } from './paths.js';
import type { Reader } from './reader.js';
import type { RouterSpec } from './scenario.js';

/** Fields of the policies that run or read something of one's own. */
const OWN_FIELDS: Readonly<Record<string, readonly RouterSpec['policy'][]>> = { exec: ['exec'], timeout: ['exec'], routes: ['recorded'] };
export const OWN_POLICY_FIELDS = Object.keys(OWN_FIELDS);
/** Time a process has for an answer, ms. */
const DEFAULT_TIMEOUT_MS = 5000;

/** The policy that `router.policy` asks for: a file's name stands for `module`. */
export function wantedPolicy(text: string): RouterSpec['policy'] {
  return isModulePath(text) ? 'module' : (text as RouterSpec['policy']);
}

/** What a policy of one's own runs or follows. Problems: files that are not there, and fields that the policy does not read. */
export function resolveOwnPolicy(reader: Reader, policy: RouterSpec['policy']): Pick<RouterSpec, 'module' | 'exec' | 'routes'> {
  for (const [name, readers] of Object.entries(OWN_FIELDS)) {
    if (!readers.includes(policy)) reader.unread(`router.${name}`, `not read by policy ${policy}`, `remove it or set policy: ${readers[0]}`);
  }
  switch (policy) {
    case 'module':
      return { module: fileAt(reader, 'router.policy') };
    case 'exec':
      return { exec: execOf(reader) };
    case 'recorded': {
      const path = 'router.routes';
      if (!reader.has(path)) reader.problem('E-MISSING', path, 'required by policy recorded', "add 'routes: routes.json'");
      return { routes: reader.has(path) ? fileAt(reader, path) : { path: '', sha256: '' } };
    }
    default:
      return {};
  }
}

function execOf(reader: Reader): NonNullable<RouterSpec['exec']> {
  const path = 'router.exec';
  const words = reader.list(path) as readonly string[] | undefined;
  if (words === undefined && !reader.has(path)) reader.problem('E-MISSING', path, 'required by policy exec', "add 'exec: [python3, ./router.py]'");
  if (words?.length === 0) reader.problem('E-RANGE', path, 'names no program', "write for example 'exec: [python3, ./router.py]'");
  const timeoutMs = reader.number('router.timeout') ?? DEFAULT_TIMEOUT_MS;
  const command = (words ?? []).map((word) => commandWordBeside(reader.file(path), word));
  const sha256 = command.flatMap((word) => {
    const own = isCommandPath(word);
    if (own && !existsSync(word)) reader.problem('E-FILE', path, `'${word}': no such file`, 'words that begin with ./, ../ or / are paths relative to this file');
    return own && existsSync(word) && statSync(word).isFile() ? [digest(word)] : [];
  });
  return { command, sha256, timeoutMs };
}

function fileAt(reader: Reader, path: string): { path: string; sha256: string } {
  const file = besideFile(reader.file(path), reader.text(path) ?? '');
  try {
    return { path: file, sha256: digest(file) };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    reader.problem('E-FILE', path, `'${file}': ${code === 'ENOENT' ? 'no such file' : `cannot be read (${code})`}`, 'paths are relative to the file they stand in');
    return { path: file, sha256: '' };
  }
}

function digest(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
