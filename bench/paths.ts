import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const CLI = join(ROOT, 'dist/cli/main.js');
export const DEFAULT_TRACE = join(ROOT, 'traces/conversation_mini.jsonl');
/** Profiles. */
export const OUT = join(ROOT, 'out');
/** Helpers, scaled traces and reports of the last benchmark. */
export const FOLDER = join(OUT, 'bench');
