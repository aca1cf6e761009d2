/** What the length rule of names needs to know of a component. */
export interface NamedComponent {
  readonly name: string;
  /** Pods per replica. */
  readonly nodeCount: number;
}

const LIMIT = 45;
const SHORTEST = 8;
const SUFFIX = 5;
/** Longest Kubernetes service name. */
export const SERVICE_NAME_LIMIT = 63;

/** A DNS label that may also begin a service name. */
export const DGD_NAME = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
export const NAMESPACE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
export const COMPONENT_NAME = /^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$/;

/** Characters a component takes of a pod group's name: twice its name + 4 when a replica has several pods. */
export function nameBurden(component: NamedComponent): number {
  const length = component.name.length;
  return component.nodeCount > 1 ? 2 * length + 4 : length;
}

/** Characters left for the deployment's own name by the strict form of the rule, which holds for every operator. */
export function strictNameBudget(components: readonly NamedComponent[]): number {
  return LIMIT - Math.max(0, ...components.map(nameBurden));
}

/**
 * The name operators since 1.2 use inside for a deployment: cut to the budget and closed with 4 hex
 * digits of FNV-1a-32 of the whole name (spec: dgd section 8 rule 8).
 */
export function internalName(dgd: string, components: readonly NamedComponent[]): string {
  const budget = Math.max(SHORTEST, strictNameBudget(components));
  if (dgd.length <= budget) return dgd;
  return `${dgd.slice(0, budget - SUFFIX)}-${(fnv1a32(dgd) & 0xffff).toString(16).padStart(4, '0')}`;
}

/** Whether the operator accepts the name; `strict` = 1.1 and before, which does not shorten. */
export function nameFits(dgd: string, components: readonly NamedComponent[], strict: boolean): boolean {
  const name = strict ? dgd : internalName(dgd, components);
  return name.length <= strictNameBudget(components);
}

/** `{dgd}-{component}` in lower case: the component's service and scaling adapter. */
export function serviceName(dgd: string, component: string): string {
  return `${dgd}-${component.toLowerCase()}`.replaceAll('.', '-');
}

/** A legal deployment name out of any text, short enough for the strict rule. */
export function nameFrom(text: string, components: readonly NamedComponent[]): string {
  const words = text.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+/, '');
  const label = /^[a-z]/.test(words) ? words : `dgd-${words}`;
  return label.slice(0, Math.max(1, strictNameBudget(components))).replace(/-+$/, '');
}

function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
