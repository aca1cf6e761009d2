import { CompiledModel } from './compiled-model.js';
import type { Model } from './catalogue.js';
import { createForwardModel, type ForwardModel } from './forward-model.js';
import type { LayeredOperators } from './layered-operators.js';
import type { Layout } from './layout.js';
import { layeredSource } from './operator-sources.js';
import type { Quant } from './quant.js';

/** A worker shape to be timed from operator tables. */
export interface OperatorQuestion {
  readonly model: Model;
  readonly hardware: string;
  readonly engine: string;
  /** Engine version, read from a folder. */
  readonly version: string;
  readonly layout: Layout;
  readonly quant: Quant;
  /** Folder of tables; absent = those that ship with the project. */
  readonly folder?: string | undefined;
  readonly miss?: 'error' | 'estimate' | undefined;
}

/** Its passes compiled, and what they rest on. */
export interface RealisticModel {
  readonly compiled: CompiledModel;
  /** What was compiled, and the operator times it was put together from. */
  readonly forward: ForwardModel;
  readonly times: LayeredOperators;
  /** Tables asked first, such as `vllm 0.24.0`. */
  readonly tables: string;
  /** `gemm fp8_block from sglang 0.5.14`: operators that these did not know. */
  readonly borrowed: readonly string[];
  /** False where another engine's or GPU's kernels, or datasheets, carry part of a pass. */
  readonly ownTables: boolean;
}

const models = new Map<string, RealisticModel>();

/**
 * One instance per shape. Throws MissingOperator where no table and no estimate knows an operator, InputError for
 * a folder that cannot be read.
 */
export function realisticModel(question: OperatorQuestion): RealisticModel {
  const { model, hardware, engine, version, layout, quant, folder, miss } = question;
  const key = JSON.stringify([model.name, model.quant, hardware, engine, layout, quant, folder === undefined ? null : [folder, version], miss]);
  const known = models.get(key);
  if (known !== undefined) return known;
  const source = layeredSource({ hardware, engine, version, folder, exact: false, miss });
  const forward = createForwardModel({ model, engine, layout, quant }, source.times);
  const borrowed = [...new Set(source.times.borrowed.map(({ operator, from }) => `${operator} from ${from}`))];
  const made = { compiled: new CompiledModel(forward), forward, times: source.times, tables: source.name, borrowed, ownTables: source.own && borrowed.length === 0 };
  models.set(key, made);
  return made;
}
