import { Document, isMap, isPair, isScalar, isSeq, visit } from 'yaml';
import { CASE_BACKENDS } from '../timing/calibration/effects.js';
import { sha256, WEIGHTS_FILE, type FamilyErrors, type Provenance } from '../timing/calibration/profile.js';
import { packWeights } from '../timing/calibration/weights.js';
import type { RealisticFit } from './fit.js';

const HEAD = `# Realistic timing: numbers of passes by backend and model, factors and intervals, held-out errors.
#
# Written by \`dynotwin calibrate fit\`. m_*: multiples of table times; host_ms: of every pass; launch_us: of a pass with prompts.
# spread: of the models about the mean, multipliers and floor in ln, host in ms. errors: ratios; folds = loads like the measured ones
# held out, unseen = (backend, model, system) held out. effects: standard deviations in ln.
`;

/** The two files of a profile. */
export function profileFiles({ calibration, errors: found, refused }: RealisticFit, provenance: Omit<Provenance, 'refused'>): { readonly yaml: string; readonly weights: string } {
  const { physical, backends, factors, intervals } = calibration;
  const weights = packWeights(factors.weights);
  const document = new Document({
    schema: 'dynotwin.realistic/1',
    provenance: { ...provenance, refused },
    backends: Object.fromEntries(
      CASE_BACKENDS.map((backend) => {
        const own = physical.get(backend);
        const { fixed_ms, serial_ms_per_kilo_token } = backends[backend];
        const models = Object.fromEntries([...(own?.models ?? [])].map(([family, model]) => [family, { rows: model.rows, ...model.numbers }]));
        return [backend, { fixed_ms, serial_ms_per_kilo_token, mean: own?.mean ?? null, spread: own?.spread.map(rounded) ?? null, models }];
      }),
    ),
    intervals,
    factors: factors.data,
    weights: { file: WEIGHTS_FILE, sha256: sha256(weights) },
    errors: found.map(({ backend, family, folds, unseen }) => ({ backend, model: family, folds: roundedErrors(folds), unseen: roundedErrors(unseen) })),
  });
  visit(document, {
    Map: (_, node) => {
      if (node.items.every(({ value }) => isScalar(value) || ((isMap(value) || isSeq(value)) && value.items.length <= 6 && value.items.every((item) => isScalar(item) || (isPair(item) && isScalar(item.value)))))) node.flow = true;
    },
    Seq: (_, node) => {
      if (node.items.every(isScalar)) node.flow = true;
    },
  });
  return { yaml: HEAD + document.toString({ lineWidth: 0 }), weights };
}

/** Three digits: more would say more than is known. */
function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

function roundedErrors(of: FamilyErrors['folds']): FamilyErrors['folds'] {
  const one = ({ n, median, p90, bias }: NonNullable<typeof of>['tpot']): NonNullable<typeof of>['tpot'] => ({ n, median: rounded(median), p90: rounded(p90), bias: rounded(bias) });
  return of === null ? null : { tpot: one(of.tpot), ttft: one(of.ttft) };
}
