import type { Hardware } from '../catalogue.js';
import { compileAllReduce } from '../forms.js';
import { chooseRow, fittedProfile } from '../rows.js';
import type { Share } from './law.js';

/** All-reduces of a pass. */
export interface Communication {
  /** All of a pass over so many tokens, µs. */
  us(tokens: number): number;
  /** Where the curve was measured, such as `all-reduce over 2: h200_sxm vllm 0.24.0`. */
  readonly source: string;
}

/**
 * Time of tensor parallelism's all-reduces, two a layer and one of the embedding, from the curves of `engines/profiles/fitted.yaml`: one
 * GPU cannot measure them. Null where none was measured over so many of these GPUs.
 */
export function communicationOf(hardware: Hardware, engine: { readonly name: string; readonly version: string }, tp: number, { layers, hidden }: Pick<Share, 'layers' | 'hidden'>): Communication | null {
  if (tp === 1) return { us: () => 0, source: 'none' };
  const rows = fittedProfile().all_reduce.filter(({ gpus }) => gpus === tp);
  const found = chooseRow(rows, { gpu: hardware, backend: engine.name, version: engine.version }, true);
  if (found === null) return null;
  const reduce = compileAllReduce(found.row);
  const { hardware: of, backend, version } = found.row;
  return { us: (tokens) => (2 * layers + 1) * reduce(tokens * hidden), source: `all-reduce over ${tp}: ${of} ${backend} ${version}` };
}
