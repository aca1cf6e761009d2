import { InputError } from '../core/problem.js';
import type { QueueClasses } from '../scenario/scenario.js';
import type { Workload } from '../workload/workload.js';

/** Hints of the requests, and where these stand. */
type Hinted = Pick<Workload, 'requestCount' | 'hints' | 'source'>;

/** Says which class of a router's queue a request is of. Source: spec router section 5.4. */
export class RequestClasses {
  /** Of each class for requests that name it. */
  private readonly named = new Map<string, number>();
  /** Classes of each family, by bucket. */
  private readonly families = new Map<string, readonly number[]>();
  private readonly fallback: readonly number[] | undefined;

  constructor(
    private readonly spec: QueueClasses,
    private readonly hints: Workload['hints'],
  ) {
    const { buckets, classes, defaultFamily } = spec;
    classes.forEach(({ name, family }, index) => {
      if (family === undefined) this.named.set(name, index);
      else if (!this.families.has(family)) this.families.set(family, buckets.map(({ bucket }) => classes.findIndex((each) => each.family === family && each.bucket === bucket)));
    });
    this.fallback = defaultFamily === undefined ? undefined : this.families.get(defaultFamily);
  }

  /** The class of a request of any length; -1 = its length says it. Throws Error for a request that `checkClasses` refuses. */
  certain(request: number): number {
    const asked = this.hints?.get(request)?.policyClass;
    const named = asked === undefined ? undefined : this.named.get(asked);
    if (named !== undefined) return named;
    const family = this.familyOf(asked);
    return family.length === 1 ? family[0]! : -1;
  }

  /** @param uncachedTokens of its prompt, on the worker that caches most of it */
  of(request: number, uncachedTokens: number): number {
    const certain = this.certain(request);
    if (certain >= 0) return certain;
    const { buckets } = this.spec;
    let bucket = buckets.length - 1;
    while (buckets[bucket]!.minTokens > uncachedTokens) bucket--;
    return this.familyOf(this.hints?.get(request)?.policyClass)[bucket]!;
  }

  private familyOf(asked: string | undefined): readonly number[] {
    const family = asked === undefined ? this.fallback : this.families.get(asked);
    if (family === undefined) throw new Error(`no policy class for '${asked ?? ''}'`);
    return family;
  }

  /** True for the name of a family or of a class; without a name, where there is a default family. */
  knows(asked: string | undefined): boolean {
    return asked === undefined ? this.fallback !== undefined : this.named.has(asked) || this.families.has(asked);
  }

  get names(): string {
    return [...this.families.keys(), ...this.named.keys()].join(', ');
  }
}

/** Throws `E-TRACE` for the first row that is of none of the classes, `E-COMBINATION` where nothing names one and there is no default. */
export function checkClasses(spec: QueueClasses, { requestCount, hints, source }: Hinted): void {
  const classes = new RequestClasses(spec, hints);
  for (let request = 0; request < requestCount; request++) {
    const asked = hints?.get(request)?.policyClass;
    if (classes.knows(asked)) continue;
    const place = source && { file: source.file, line: source.lines[request]!, col: 1 };
    if (asked !== undefined) throw new InputError({ code: 'E-TRACE', ...place, path: 'policy_class', what: `'${asked}' is neither a family nor a class that requests may name in '${spec.path}'`, hint: `use one of ${classes.names}` });
    if (hints?.size) throw new InputError({ code: 'E-TRACE', ...place, path: 'policy_class', what: `missing, and '${spec.path}' has no default_policy_family`, hint: `add it, one of ${classes.names}, or a default family` });
    throw new InputError({ code: 'E-COMBINATION', path: 'router.queue.classes', what: `the requests name no class, and '${spec.path}' has no default_policy_family`, hint: 'add default_policy_family and classes of that family' });
  }
}
