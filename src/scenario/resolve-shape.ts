import type { Reader } from './reader.js';
import type { EngineName, PoolSpec } from './scenario.js';
import { engineGap, expertLayout, parseShape, type Shape } from './shape.js';

/** Degrees that a pool names one by one; `shape` stands for all of them. */
export const SHAPE_FIELDS = ['tp', 'pp', 'dp', 'moe_tp', 'moe_ep'] as const;

/** What a pool's shape becomes, its ranks aside. */
export interface ResolvedShape {
  readonly dp: number;
  readonly layout: Pick<PoolSpec, 'tp' | 'pp' | 'moeTp' | 'moeEp'>;
}

/** The shape of one pool's workers. `experts`: whether the model has any; null = there is no model to ask. */
export function resolveShape(reader: Reader, path: string, engine: EngineName, model: string | null, experts: boolean | null): ResolvedShape {
  const shape = readShape(reader, path);
  const { tp, pp, dp } = shape;
  const layout = { tp, ...(pp > 1 ? { pp } : {}) };
  const at = (field: string): string => (reader.has(`${path}.shape`) ? `${path}.shape` : `${path}.${field}`);
  const field = shape.moeEp !== undefined ? 'moe_ep' : shape.moeTp !== undefined ? 'moe_tp' : null;
  if (field === null && experts !== true) return { dp, layout };
  const { moeTp, moeEp } = expertLayout(shape);
  if (moeTp * moeEp !== tp * dp || !Number.isInteger(moeTp) || !Number.isInteger(moeEp)) {
    reader.problem('E-FIT', at(field!), ...misfit(shape));
    return { dp, layout };
  }
  if (experts === false) {
    reader.problem('E-FIT', at(field!), `${model} has no experts`, 'remove it');
    return { dp, layout };
  }
  const gap = engineGap(engine, { tp, pp, attentionDp: dp, moeTp, moeEp });
  if (gap !== null) reader.problem('E-COMBINATION', at(gap.field), gap.what, gap.hint);
  return { dp, layout: { ...layout, moeTp, moeEp } };
}

/** What is wrong with degrees of experts that do not cover a stage, and the one that would. */
function misfit({ tp, dp, moeTp, moeEp }: Shape): [what: string, hint: string] {
  const gpus = tp * dp;
  if (moeTp === undefined || moeEp === undefined) return [`${moeEp ?? moeTp} does not divide tp·dp·cp = ${gpus}`, `use a divisor of ${gpus}`];
  const fitting = gpus % moeTp === 0 ? `set moe_ep: ${gpus / moeTp}` : gpus % moeEp === 0 ? `set moe_tp: ${gpus / moeEp}` : `use divisors of ${gpus}`;
  return [`moe_tp·moe_ep = ${moeTp * moeEp} but tp·dp·cp = ${gpus}`, fitting];
}

function readShape(reader: Reader, path: string): Shape {
  const text = reader.text(`${path}.shape`);
  const number = (name: string): number | undefined => reader.number(`${path}.${name}`);
  const [moeTp, moeEp] = [number('moe_tp'), number('moe_ep')];
  const own: Shape = { tp: number('tp') ?? 1, pp: number('pp') ?? 1, dp: number('dp') ?? 1, ...(moeTp === undefined ? {} : { moeTp }), ...(moeEp === undefined ? {} : { moeEp }) };
  const other = SHAPE_FIELDS.find((name) => reader.has(`${path}.${name}`));
  if (reader.has(`${path}.shape`) && other) {
    reader.problem('E-CONFLICT', `${path}.shape`, `${path}.${other} is set at line ${reader.line(`${path}.${other}`)}`, 'keep one');
  }
  if (text === undefined) return own;
  const shape = parseShape(text);
  if (shape === null) reader.problem('E-RANGE', `${path}.shape`, `'${text}' has no GPU`, "write a shape such as 'tp4'");
  return shape ?? own;
}
