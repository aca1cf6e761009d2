import type { CaseBackend, FittedNumbers, PhysicalData } from './effects.js';
import type { Physical } from './physical.js';

/** The five fitted numbers as a fit moves them: ln m_dec, ln m_pre, ln m_ga, host in ms, ln floor in ms a layer. */
export type Vector = readonly number[];

export const AXES = ['m_dec', 'm_pre', 'm_ga', 'host_ms', 'launch_us'] as const;
export const [DEC, PRE, GA, HOST, FLOOR] = [0, 1, 2, 3, 4] as const;

export function toVector(numbers: FittedNumbers): Vector {
  return AXES.map((axis) => (axis === 'host_ms' ? numbers[axis] : Math.log(numbers[axis])));
}

/** To five digits: what is stored is what was simulated. */
export function toNumbers(vector: Vector): FittedNumbers {
  const [m_dec, m_pre, m_ga, host_ms, launch_us] = AXES.map((axis, i) => Number((axis === 'host_ms' ? vector[i]! : Math.exp(vector[i]!)).toPrecision(5))) as [number, number, number, number, number];
  return { m_dec, m_pre, m_ga, host_ms, launch_us };
}

/** With the numbers of its backend that are set, not fitted. */
export function toPhysical(numbers: FittedNumbers, backend: CaseBackend, data: Pick<PhysicalData, 'backends'>): Physical {
  const { fixed_ms, serial_ms_per_kilo_token } = data.backends[backend];
  return {
    mDec: numbers.m_dec,
    mPre: numbers.m_pre,
    mGa: numbers.m_ga,
    hostMs: numbers.host_ms,
    launchUs: numbers.launch_us,
    fixedMs: fixed_ms,
    serialMsPerKiloToken: serial_ms_per_kilo_token,
  };
}

/** Standard deviations of the prior, in the order of a vector. */
export function priorOf({ prior }: PhysicalData): Vector {
  return AXES.map((axis) => prior[axis]);
}
