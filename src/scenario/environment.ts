import type { EngineName, EngineSpec, Fidelity, TimingSpec } from './scenario.js';

/** A field-level complaint of a check that needs a model or a table; the loader adds file, line and column. */
export interface FieldProblem {
  readonly code: string;
  /** Relative to the pool or deployment the check was asked about, such as `tp`. */
  readonly field: string;
  readonly what: string;
  readonly hint?: string;
}

export interface MemoryQuestion {
  readonly model: string;
  readonly hardware: string;
  readonly engine: EngineSpec;
  readonly tp: number;
  /** Bytes per GPU set aside. */
  readonly reserveBytes: number;
}

export interface MemoryAnswer {
  readonly blocks: number;
  /** Bytes per GPU. */
  readonly weightsBytes: number;
  readonly activationBytes: number;
  readonly runtimeBytes: number;
  readonly kvBytesPerTokenPerGpu: number;
  readonly budgetBytes: number;
}

export interface EngineDefaults {
  readonly version: string;
  /** Tokens per KV block. */
  readonly blockTokens: number;
  /** 0…1 */
  readonly memoryFraction: number;
}

export type Checked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: FieldProblem };

/**
 * What resolving a scenario needs to know about models, hardware and timing. Implemented by
 * `timing/`; the loader receives it, so that `scenario/` imports nothing above it.
 */
export interface Environment {
  /** Catalogue names, sorted. */
  modelNames(): readonly string[];
  hardwareNames(): readonly string[];
  /** True for a catalogue name, its Hugging Face name, or a path to a `config.json`. */
  hasModel(model: string): boolean;
  hasHardware(hardware: string): boolean;
  /** Context length the model was trained for, tokens; null = unknown. */
  modelContextTokens(model: string): number | null;
  gpusPerNode(hardware: string): number;
  /** Bytes of a KV-cache element of the model: 1 = an FP8 cache. */
  kvElementBytes(model: string): 1 | 2;
  /** What an engine runs with where the scenario does not say. */
  engineDefaults(engine: EngineName): EngineDefaults;
  /** KV bytes per token of the whole model as sent between workers (spec: kvbm section 6.2); `legacy` = the reference's defective formula. */
  kvTransferBytesPerToken(model: string, legacy: boolean): number;
  /** KV blocks per worker, or why the model does not fit and the smallest shape that does. */
  kvBlocks(question: MemoryQuestion): Checked<MemoryAnswer>;
  /** The timing source `auto` picks, or that the wanted one covers this combination. */
  timingSource(question: {
    readonly wanted: 'auto' | TimingSpec['source'];
    /** Of a profile. */
    readonly path?: string | undefined;
    readonly model: string | null;
    readonly hardware: string | null;
    readonly engine: EngineSpec;
    readonly tp: number;
    readonly fidelity: Fidelity;
  }): Checked<TimingSpec['source']>;
}
