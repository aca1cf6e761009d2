import type { Problem } from '../core/problem.js';
import type { Setting, Settings } from './check.js';
import type { Position } from './tree.js';

/** A field that is set and that this configuration never reads. */
export interface Inert {
  readonly setting: Setting;
  readonly what: string;
  readonly hint: string;
}

/** Codes whose place is the key, not the value (spec: scenario section 6.2). */
const AT_KEY = new Set(['E-FIELD', 'E-CONFLICT', 'E-MISSING', 'E-COMBINATION', 'E-NO-EFFECT', 'W-NO-EFFECT', 'E-UNSUPPORTED']);

/** Hands settings to the resolver and remembers which were read, so that fields without effect show. */
export class Reader {
  private readonly seen = new Set<string>();
  private readonly reasons: { prefix: string; what: string; hint: string }[] = [];
  private readonly harmless: string[] = [];

  constructor(readonly settings: Settings, readonly problems: Problem[]) {}

  /** True when the field or mapping is set. */
  has(path: string): boolean {
    return this.settings.leaves.has(path) || this.settings.blocks.has(path);
  }

  /** Names of the fields that are set right inside a mapping. */
  within(path: string): readonly string[] {
    return [...this.settings.leaves.keys()].filter((leaf) => leaf.slice(0, leaf.lastIndexOf('.')) === path).map((leaf) => leaf.slice(path.length + 1));
  }

  number(path: string): number | undefined {
    const value = this.read(path);
    return typeof value === 'number' ? value : undefined;
  }

  /** Value of a quantity in the field's other dimension. */
  other(path: string): number | undefined {
    const value = this.read(path);
    return typeof value === 'object' && value !== null && 'other' in value && typeof value.other === 'number' ? value.other : undefined;
  }

  text(path: string): string | undefined {
    const value = this.read(path);
    return typeof value === 'string' ? value : undefined;
  }

  boolean(path: string): boolean | undefined {
    const value = this.read(path);
    return typeof value === 'boolean' ? value : undefined;
  }

  list(path: string): readonly unknown[] | undefined {
    const value = this.read(path);
    return Array.isArray(value) ? value : undefined;
  }

  /** One of the values the table allows there. */
  choice<T extends string>(path: string): T | undefined {
    return this.text(path) as T | undefined;
  }

  /** The value, or a placeholder and E-MISSING when the field is absent. */
  required<T>(path: string, value: T | undefined, placeholder: T, hint: string): T {
    if (value === undefined && !this.has(path)) this.problem('E-MISSING', path, 'required', hint);
    return value ?? placeholder;
  }

  private read(path: string): unknown {
    this.seen.add(path);
    return this.settings.leaves.get(path)?.value;
  }

  /** The line a field's key stands on. */
  line(path: string): number {
    return (this.setting(path)?.key ?? this.settings.root).line;
  }

  /** Folder-relative values need the file they stand in. */
  file(path: string): string {
    return (this.setting(path)?.at ?? this.settings.root).file;
  }

  private setting(path: string): Setting | undefined {
    return this.settings.leaves.get(path) ?? this.settings.blocks.get(path);
  }

  /** Where `path`, or else the nearest mapping around it, stands. */
  place(path: string, part: 'key' | 'value'): Position {
    for (let parts = path.split('.'); parts.length > 0; parts = parts.slice(0, -1)) {
      const found = this.setting(parts.join('.'));
      if (found) return part === 'value' && parts.length === path.split('.').length ? found.at : found.key;
    }
    return this.settings.root;
  }

  /** Records a problem with `path`; `at` is the field to point at when it is another one. */
  problem(code: string, path: string, what: string, hint?: string, at: { readonly path?: string; readonly part?: 'key' | 'value' } = {}): void {
    if (code === 'E-MISSING' && this.explained(path)) return;
    const place = this.place(at.path ?? path, at.part ?? (AT_KEY.has(code) ? 'key' : 'value'));
    this.problems.push({ code, ...place, path, what, ...(hint ? { hint } : {}) });
  }

  /** True when something wrong at `path`, around it or right inside it already says why it is missing. */
  private explained(path: string): boolean {
    return this.problems.some(({ code, path: other = '' }) => under(path, other) || ((code === 'E-FIELD' || code === 'E-UNSUPPORTED') && other.slice(0, other.lastIndexOf('.')) === path));
  }

  /** A field that was read and then set aside. */
  unreadField(path: string, what: string, hint: string): void {
    this.seen.delete(path);
    this.unread(path, what, hint);
  }

  /** Sets aside whatever was read at `prefix` or inside it. */
  unreadFields(prefix: string, what: string, hint: string): void {
    for (const path of [...this.seen]) if (under(path, prefix)) this.seen.delete(path);
    this.unread(prefix, what, hint);
  }

  /** Says why fields under `prefix` are not read. */
  unread(prefix: string, what: string, hint: string): void {
    this.reasons.push({ prefix, what, hint });
  }

  /** Fields under `prefix` change nothing here, which is no mistake. */
  harmlesslyUnread(prefix: string): void {
    this.harmless.push(prefix);
  }

  /** Set fields that nothing read: those worth a complaint, and the paths of all. */
  inert(): { readonly complaints: readonly Inert[]; readonly paths: readonly string[] } {
    const complaints: Inert[] = [];
    const paths: string[] = [];
    for (const [path, setting] of this.settings.leaves) {
      const harmless = this.harmless.some((prefix) => under(path, prefix));
      if (this.seen.has(path) && !harmless) continue;
      paths.push(path);
      if (harmless) continue;
      const reason = this.reasons.find(({ prefix }) => under(path, prefix));
      complaints.push({ setting, what: reason?.what ?? 'not read in this configuration', hint: reason?.hint ?? 'remove it' });
    }
    return { complaints, paths };
  }
}

/** True when `path` is `prefix` or inside it. */
export function under(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}.`);
}
