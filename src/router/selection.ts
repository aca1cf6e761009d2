import type { RandomStream } from '../core/random.js';

/**
 * Index of the chosen cost. Temperature 0: the minimum, ties by reservoir sampling (uniform).
 * Otherwise softmax over the costs' place between the lowest and the highest. Source: spec router
 * section 3.3.
 */
export function choose(costs: Float64Array, temperature: number, random: RandomStream): number {
  return temperature === 0 ? cheapest(costs, random) : sample(costs, temperature, random);
}

function cheapest(costs: Float64Array, random: RandomStream): number {
  let best = 0;
  let least = costs[0]!;
  let ties = 1;
  for (let i = 1; i < costs.length; i++) {
    const cost = costs[i]!;
    if (cost > least) continue;
    if (cost < least) {
      best = i;
      least = cost;
      ties = 1;
    } else if (random.integer(++ties) === 0) {
      best = i;
    }
  }
  return best;
}

/** Chance of each cost at a temperature above 0. */
export function softmax(costs: Float64Array, temperature: number): Float64Array {
  let lowest = Infinity;
  let highest = -Infinity;
  for (const cost of costs) {
    lowest = Math.min(lowest, cost);
    highest = Math.max(highest, cost);
  }
  const weights = costs.map((cost) => (highest === lowest ? 1 : Math.exp(-(cost - lowest) / ((highest - lowest) * temperature))));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function sample(costs: Float64Array, temperature: number, random: RandomStream): number {
  const chances = softmax(costs, temperature);
  const drawn = random.next();
  let cumulated = 0;
  for (let i = 0; i < chances.length; i++) {
    cumulated += chances[i]!;
    if (drawn <= cumulated) return i;
  }
  return chances.length - 1;
}
