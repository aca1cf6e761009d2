import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { InputError } from '../core/problem.js';
import type { RouterSpec } from '../scenario/scenario.js';
import type { PolicyModule } from './policy.js';

/** Modules of this thread by path and content. */
const loaded = new Map<string, PolicyModule>();

const keyOf = (path: string, sha256: string): string => `${sha256} ${resolve(path)}`;

/**
 * Loads the policy module of a router, if it has one: simulations of this thread find it from then on. Throws `E-FILE` for a file that cannot
 * be run, `E-POLICY` for one that exports no policy.
 */
export async function loadPolicy({ module }: Pick<RouterSpec, 'module'>): Promise<void> {
  if (module === undefined || loaded.has(keyOf(module.path, module.sha256))) return;
  loaded.set(keyOf(module.path, module.sha256), policyIn(module.path, await importFile(module.path, module.sha256)));
}

/** What `loadPolicy` loaded. */
export function loadedPolicy(path: string, sha256: string): PolicyModule {
  const found = loaded.get(keyOf(path, sha256));
  if (!found) throw new Error(`policy module ${path} is not loaded: call loadPolicy first`);
  return found;
}

async function importFile(path: string, sha256: string): Promise<unknown> {
  const isTypeScript = /\.[cm]?ts$/.test(path);
  const url = isTypeScript && !stripsTypes() ? javaScriptUrl(path) : `${pathToFileURL(resolve(path)).href}?${sha256.slice(0, 16)}`;
  try {
    return await import(/* @vite-ignore */ url);
  } catch (error) {
    const what = error instanceof Error ? `${error.name}: ${error.message}`.split('\n')[0]! : String(error);
    const hint = isTypeScript && /relative|resolve|invalid/i.test(what) ? 'a .ts policy may import packages only; compile it to .js' : 'mend the module, or check what it imports';
    throw new InputError({ code: 'E-FILE', file: path, path: 'router.policy', what: `cannot be loaded: ${what}`, hint });
  }
}

/** Node of 22.18 and later runs type-stripped files itself. */
function stripsTypes(): boolean {
  return Boolean((process.features as { typescript?: unknown }).typescript);
}

/** The module without its types, by the `typescript` package beside it or beside this program. */
function javaScriptUrl(path: string): string {
  const source = readFileSync(path, 'utf8');
  for (const from of [pathToFileURL(resolve(path)).href, import.meta.url]) {
    let typescript: typeof import('typescript');
    try {
      typescript = createRequire(from)('typescript') as typeof import('typescript');
    } catch {
      continue;
    }
    const { outputText } = typescript.transpileModule(source, { fileName: path, compilerOptions: { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2022 } });
    return `data:text/javascript;base64,${Buffer.from(outputText).toString('base64')}`;
  }
  throw new InputError({ code: 'E-FILE', file: path, path: 'router.policy', what: `Node ${process.versions.node} cannot run TypeScript and no 'typescript' package is installed`, hint: "compile it to .js, or 'npm install typescript'" });
}

function policyIn(path: string, exported: unknown): PolicyModule {
  const names = ['createPolicy', 'select', 'cost'] as const;
  for (const place of [exported, (exported as { default?: unknown } | null)?.default]) {
    const found = names.find((name) => typeof (place as Record<string, unknown> | null | undefined)?.[name] === 'function');
    if (found !== undefined) return place as PolicyModule;
  }
  throw new InputError({ code: 'E-POLICY', file: path, path: 'router.policy', what: 'exports no function createPolicy, select or cost', hint: "write 'export function select(request, candidates, state) {…}'" });
}
