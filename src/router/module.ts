import { InputError } from '../core/problem.js';
import { loadedPolicy } from './module-loader.js';
import { OwnPolicyRouter, show } from './own-policy.js';
import type { Candidate, Policy, PolicyModule, PolicyState, RouteRequest } from './policy.js';
import type { Router, RouterSetup } from './router.js';

/** Asks a policy module of one's own. It must have been loaded before (`loadPolicy`). */
class ModuleRouter extends OwnPolicyRouter {
  private readonly path: string;
  private readonly policy: Policy;

  constructor(setup: RouterSetup) {
    super(setup);
    const { module } = setup.spec;
    if (!module) throw new Error('policy module without a module');
    this.path = module.path;
    const exported = loadedPolicy(module.path, module.sha256);
    this.policy = this.guard('createPolicy', () => policyOf(exported, this));
    if (typeof this.policy?.select !== 'function') throw this.problem("createPolicy gave no object with 'select'", 'return {select(request, candidates, state) {…}}');
  }

  protected ask(request: RouteRequest, candidates: readonly Candidate[]): unknown {
    return this.guard(`select for request ${request.id}`, () => this.policy.select(request, candidates, this.state()));
  }

  firstTokenSeen(request: number): void {
    if (this.policy.onFirstToken) this.guard(`onFirstToken for request ${request}`, () => this.policy.onFirstToken!(request, this.state()));
  }

  finishSeen(request: number): void {
    if (this.policy.onFinished) this.guard(`onFinished for request ${request}`, () => this.policy.onFinished!(request, this.state()));
  }

  problem(what: string, hint: string): InputError {
    return new InputError({ code: 'E-POLICY', file: this.path, path: 'router.policy', what, hint });
  }

  override get pool(): ReturnType<() => OwnPolicyRouter['pool']> {
    return super.pool;
  }

  private state(): PolicyState {
    return { nowMs: this.view.now(), random: this.setup.random };
  }

  /** Whatever the module throws becomes one error that names the place in it. */
  private guard<T>(call: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      if (error instanceof InputError) throw error;
      throw new InputError({ code: 'E-POLICY', file: this.path, ...placeIn(this.path, error), path: 'router.policy', what: `${call} threw ${thrown(error)}`, hint: 'mend the policy' });
    }
  }
}

function policyOf(exported: PolicyModule, router: ModuleRouter): Policy {
  if (exported.createPolicy) return exported.createPolicy(router.pool);
  if (exported.select) return { select: exported.select };
  const cost = exported.cost!;
  return { select: (request, candidates, state) => cheapest(request, candidates, state, cost, router) };
}

/** Ties are drawn evenly, one draw per tie. */
function cheapest(request: RouteRequest, candidates: readonly Candidate[], state: PolicyState, cost: NonNullable<PolicyModule['cost']>, router: ModuleRouter): Candidate {
  let best = candidates[0]!;
  let least = Infinity;
  let ties = 0;
  for (const candidate of candidates) {
    const value: unknown = cost(request, candidate, state);
    if (typeof value !== 'number' || Number.isNaN(value)) throw router.problem(`cost of worker ${candidate.worker} for request ${request.id} is ${show(value)}, not a number`, 'return a number');
    if (value < least || ties === 0) [best, least, ties] = [candidate, value, 1];
    else if (value === least && state.random.integer(++ties) === 0) best = candidate;
  }
  return best;
}

function thrown(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}`.split('\n')[0]! : show(error);
}

/** Line and column of the first frame of a stack that lies in the file. */
function placeIn(path: string, error: unknown): { line?: number; col?: number } {
  const name = path.split('/').at(-1)!.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const found = error instanceof Error && new RegExp(`/${name}(?:\\?[^:)]*)?:(\\d+):(\\d+)`).exec(error.stack ?? '');
  return found ? { line: Number(found[1]), col: Number(found[2]) } : {};
}

export const moduleRouter = (setup: RouterSetup): Router => new ModuleRouter(setup);
