import { METRICS, type Metric } from '../timing/calibration/effects.js';
import { DEC, FLOOR, GA, HOST, PRE, type Vector } from '../timing/calibration/vectors.js';
import type { Simulation } from './simulation.js';

/**
 * A case's simulated means near one vector: ln of a mean, linear in every number but one. Prompts' passes take the larger of
 * m_pre·work and floor, so the two are turned: u moves both alike, v the floor against m_pre, with one slope below the vector and
 * another above, joined smoothly.
 */
export interface Surrogate {
  readonly centre: Vector;
  readonly of: Readonly<Record<Metric, Response>>;
}

interface Response {
  readonly base: number;
  readonly dec: number;
  readonly ga: number;
  readonly host: number;
  readonly u: number;
  readonly below: number;
  readonly above: number;
}

const STEP = { dec: 0.12, ga: 0.2, host: 0.4, u: 0.15, v: 0.5 } as const;
/** Width of the join. */
const JOIN = 0.1;

/** Vectors to simulate a case at. */
export function designAround(centre: Vector): Vector[] {
  const moved = (...changes: readonly (readonly [number, number])[]): Vector => centre.map((value, axis) => value + (changes.find(([at]) => at === axis)?.[1] ?? 0));
  return [centre, moved([DEC, STEP.dec]), moved([GA, STEP.ga]), moved([HOST, STEP.host]), moved([PRE, STEP.u], [FLOOR, STEP.u]), moved([FLOOR, -STEP.v]), moved([FLOOR, STEP.v])];
}

/** From the simulations at `designAround(centre)`; null when one was refused. */
export function surrogateOf(centre: Vector, answers: readonly Simulation[]): Surrogate | null {
  const response = (metric: Metric): Response | null => {
    const ln: number[] = [];
    for (const answer of answers) {
      if ('refused' in answer) return null;
      ln.push(Math.log(metric === 'tpot' ? answer.tpotMs : answer.ttftMs));
    }
    const [base, dec, ga, host, u, low, high] = ln as [number, number, number, number, number, number, number];
    return { base, dec: (dec - base) / STEP.dec, ga: (ga - base) / STEP.ga, host: (host - base) / STEP.host, u: (u - base) / STEP.u, below: (base - low) / STEP.v, above: (high - base) / STEP.v };
  };
  const [tpot, ttft] = METRICS.map(response);
  return tpot && ttft ? { centre, of: { tpot, ttft } } : null;
}

/** ln of the mean at a vector. */
export function valueAt({ centre, of }: Surrogate, metric: Metric, at: Vector): number {
  const { base, dec, ga, host, u, below, above } = of[metric];
  const d = (axis: number): number => at[axis]! - centre[axis]!;
  const v = d(FLOOR) - d(PRE);
  return base + dec * d(DEC) + ga * d(GA) + host * d(HOST) + u * d(PRE) + below * v + (above - below) * JOIN * (softplus(v / JOIN) - Math.LN2);
}

/** Its derivatives. */
export function gradientAt({ centre, of }: Surrogate, metric: Metric, at: Vector): number[] {
  const { dec, ga, host, u, below, above } = of[metric];
  const v = at[FLOOR]! - centre[FLOOR]! - (at[PRE]! - centre[PRE]!);
  const slope = below + (above - below) / (1 + Math.exp(-v / JOIN));
  const gradient = [0, 0, 0, 0, 0];
  gradient[DEC] = dec;
  gradient[PRE] = u - slope;
  gradient[GA] = ga;
  gradient[HOST] = host;
  gradient[FLOOR] = slope;
  return gradient;
}

function softplus(x: number): number {
  return x > 30 ? x : Math.log1p(Math.exp(x));
}
