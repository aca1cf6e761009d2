import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inferQuant } from '../../src/timing/infer-quant.js';
import type { Layout } from '../../src/timing/layout.js';
import { requireHardware, type Model } from '../../src/timing/catalogue.js';
import { createForwardModel, type ForwardModel } from '../../src/timing/forward-model.js';
import { folderOperators } from '../../src/timing/operator-sources.js';

/** Measured operator tables, where they lie beside the checkout. */
export const OPDATA = fileURLToPath(new URL('../../../shared/opdata', import.meta.url));
export const hasOpdata = existsSync(`${OPDATA}/data`);

/** GPUs that split everything. */
export function split(tp: number, change: Partial<Layout> = {}): Layout {
  return { tp, pp: 1, attentionDp: 1, moeTp: 1, moeEp: 1, ...change };
}

/** Operators of a model as AIConfigurator reads them from the tables, at the checkpoint's own precision. */
export function measuredModel(model: Model, hardware: string, engine: string, version: string, layout: Layout): ForwardModel {
  const { times } = folderOperators({ path: OPDATA, hardware, engine, version, exact: true, estimates: false });
  return createForwardModel({ model, engine, layout, quant: inferQuant(model, requireHardware(hardware), engine) }, times);
}
