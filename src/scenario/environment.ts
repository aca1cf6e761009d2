import type { EngineName, EngineSpec, Fidelity, Quant, TimingSpec } from './scenario.js';
import type { Shape, WorkerLayout } from './shape.js';

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
  readonly layout: WorkerLayout;
  /** Absent = the checkpoint's own. */
  readonly quant?: Quant | undefined;
  /** Bytes per GPU set aside. */
  readonly reserveBytes: number;
}

export interface MemoryAnswer {
  readonly blocks: number;
  /** Bytes per GPU. */
  readonly weightsBytes: number;
  readonly activationBytes: number;
  readonly runtimeBytes: number;
  /** What sequences take whatever their length: windows, states of linear attention. */
  readonly stateBytes: number;
  readonly kvBytesPerTokenPerGpu: number;
  readonly budgetBytes: number;
}

/** Precisions a scenario sets; the others follow from the checkpoint. */
export type QuantWish = { readonly [part in keyof Quant]?: Quant[part] | undefined };

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
  /** Bytes of a KV-cache element of the checkpoint: 1 = an FP8 cache. */
  kvElementBytes(model: string): 1 | 2;
  /** True where experts split or spread over GPUs. */
  hasExperts(model: string): boolean;
  gpusPerNode(hardware: string): number;
  /** GPUs that one fast fabric joins: a node, or a rack where it spans one. */
  gpusPerFabric(hardware: string): number;
  /** The catalogue's price of a GPU for an hour. */
  gpuHourPrice(hardware: string): number;
  /** Precision of each part of a model, or which of those set the GPU lacks. */
  quant(question: { readonly model: string; readonly hardware: string; readonly engine: EngineName; readonly wish: QuantWish }): Checked<Quant>;
  /** Shapes of workers that a search tries, of at most `gpus` GPUs, those that split the model alone (spec: perf-model section 4.3). */
  shapes(question: { readonly model: string; readonly hardware: string; readonly engine: EngineName; readonly gpus: number }): readonly Shape[];
  /** What an engine runs with where the scenario does not say. */
  engineDefaults(engine: EngineName): EngineDefaults;
  /** KV bytes per token of the whole model as sent between workers (spec: kvbm section 6.2); `legacy` = the reference's defective formula; `kv` = the cache's precision where the scenario sets it. */
  kvTransferBytesPerToken(model: string, legacy: boolean, kv?: Quant['kv']): number;
  /** KV blocks per worker, or why the model does not fit and the smallest shape that does. */
  kvBlocks(question: MemoryQuestion): Checked<MemoryAnswer>;
  /** The timing source `auto` picks, or that the wanted one covers this combination. */
  timingSource(question: {
    readonly wanted: 'auto' | TimingSpec['source'];
    /** Of a planner profile, operator tables or a measured profile. */
    readonly path?: string | undefined;
    readonly miss?: 'error' | 'estimate' | undefined;
    /** What profiles are taken beside those of the engine. */
    readonly allow?: TimingSpec['allow'] | undefined;
    /** Closed forms ask for whole passes alone. */
    readonly closedForms?: boolean;
    readonly model: string | null;
    readonly hardware: string | null;
    readonly engine: EngineSpec;
    readonly tp: number;
    /** Of the whole worker; absent = `tp` GPUs and no experts. */
    readonly layout?: WorkerLayout | undefined;
    /** Where the scenario sets a precision. */
    readonly quant?: Quant | undefined;
    readonly fidelity: Fidelity;
  }): Checked<TimingSpec['source']>;
}
