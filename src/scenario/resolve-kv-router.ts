import type { Reader } from './reader.js';
import type { RouterIndexSpec, RouterSpec } from './scenario.js';

/** Fields that `load_aware` decides (spec: router section 2.3). */
const LOAD_AWARE_FIELDS = ['overlap_score_credit', 'overlap_score_credit_decay', 'track_active_blocks', 'track_prefill_tokens', 'assume_kv_reuse', 'index'] as const;
const LOAD_AWARE: Partial<RouterSpec> = { trackActiveBlocks: true, trackPrefillTokens: true, assumeKvReuse: false };
/** Time for which a choice counts as cached, ms. */
const TTL_MS = 120_000;
/** Share of the blocks that an index keeps when it has too many. */
const PRUNE_TO = 0.8;

/**
 * What a KV router's settings say beyond its weights, after these have been read to `base`: index, output blocks, prefill
 * load, selection and the fields that stand for others. Fields without effect are set aside.
 */
export function resolveKvRouter(reader: Reader, base: RouterSpec, visibleByDefault: RouterSpec['indexVisible']): RouterSpec {
  const isLoadAware = reader.boolean('router.load_aware') === true;
  if (isLoadAware) for (const name of LOAD_AWARE_FIELDS) reader.unreadFields(`router.${name}`, 'load_aware decides it', 'remove it, or load_aware');
  const selection = reader.choice<'cost' | 'lmetric'>('router.selection') === 'lmetric' ? { selection: 'lmetric' as const } : {};
  const weighed = resolveWeight(reader, isLoadAware ? { ...base, ...LOAD_AWARE } : base);
  const scaled = selection.selection ? withoutScale(reader, weighed) : weighed;
  const mode = isLoadAware ? 'none' : (reader.choice<RouterIndexSpec['mode']>('router.index.mode') ?? 'events');
  const index = isLoadAware ? { mode } : resolveIndex(reader, mode);
  if (mode !== 'events') reader.unreadField('router.index.visible', `index mode ${mode} hears of no passes`, 'remove it or set mode: events');
  if (mode === 'none' && !isLoadAware) {
    for (const name of ['overlap_score_credit', 'overlap_score_credit_decay']) reader.unreadField(`router.${name}`, 'without an index nothing is credited', 'remove it or the index mode');
  }
  return {
    ...scaled,
    ...(mode === 'none' ? { overlapScoreCredit: 0, overlapScoreCreditDecay: 0 } : {}),
    ...(mode === 'events' ? {} : { indexVisible: visibleByDefault }),
    ...(index ? { index: index as RouterIndexSpec } : {}),
    ...selection,
    ...resolveOutputBlocks(reader, scaled.trackActiveBlocks),
    ...resolvePrefillLoad(reader, scaled.trackPrefillTokens),
  };
}

/** The older single weight: the scale of prompt work, and at 0 no credit (spec: router section 2.1). */
function resolveWeight(reader: Reader, base: RouterSpec): RouterSpec {
  const weight = reader.number('router.overlap_score_weight');
  if (weight === undefined) return base;
  const rivals = weight === 0 ? ['prefill_load_scale', 'overlap_score_credit'] : ['prefill_load_scale'];
  for (const name of rivals) {
    if (reader.has(`router.${name}`)) reader.problem('E-CONFLICT', 'router.overlap_score_weight', `it decides ${name}, which is set as well`, 'keep one');
  }
  return { ...base, prefillLoadScale: weight, ...(weight === 0 ? { overlapScoreCredit: 0 } : {}) };
}

/** A product of prompt work and load has no weights to balance them. */
function withoutScale(reader: Reader, base: RouterSpec): RouterSpec {
  for (const name of ['prefill_load_scale', 'decode_active_request_weight', 'overlap_score_weight']) {
    reader.unreadField(`router.${name}`, 'selection lmetric multiplies prompt work and load', 'remove it or set selection: cost');
  }
  return { ...base, prefillLoadScale: 1, decodeActiveRequestWeight: 0 };
}

/** Absent = the default: all events, without delay. */
function resolveIndex(reader: Reader, mode: RouterIndexSpec['mode']): RouterIndexSpec | undefined {
  const path = (name: string): string => `router.index.${name}`;
  const only = (wanted: RouterIndexSpec['mode'], names: readonly string[]): void => {
    if (mode !== wanted) for (const name of names) reader.unread(path(name), `not read by index mode ${mode}`, `remove it or set mode: ${wanted}`);
  };
  only('events', ['event_delay', 'event_loss', 'predicted_ttl']);
  only('approximate', ['ttl', 'policy', 'max_blocks', 'prune_to']);
  switch (mode) {
    case 'none':
      return { mode };
    case 'approximate': {
      if (reader.choice<'ttl' | 'lru'>(path('policy')) === 'lru') {
        for (const name of ['ttl', 'max_blocks', 'prune_to']) reader.unread(path(name), name === 'ttl' ? 'policy lru forgets by room, not by time' : 'policy lru knows the room of each worker', 'remove it or set policy: ttl');
        return { mode, policy: 'lru' };
      }
      return { mode, policy: 'ttl', ttlMs: reader.text(path('ttl')) === 'none' ? null : (reader.number(path('ttl')) ?? TTL_MS), ...resolveCap(reader) };
    }
    case 'events': {
      const delayMs = reader.number(path('event_delay')) ?? 0;
      const loss = reader.number(path('event_loss')) ?? 0;
      const predictedMs = reader.number(path('predicted_ttl')) ?? null;
      return delayMs === 0 && loss === 0 && predictedMs === null ? undefined : { mode, delayMs, loss, predictedMs };
    }
  }
}

function resolveCap(reader: Reader): Pick<Extract<RouterIndexSpec, { policy: 'ttl' }>, 'cap'> {
  const maxBlocks = reader.text('router.index.max_blocks') === 'none' ? undefined : reader.number('router.index.max_blocks');
  if (maxBlocks !== undefined) return { cap: { maxBlocks, pruneTo: reader.number('router.index.prune_to') ?? PRUNE_TO } };
  reader.unread('router.index.prune_to', 'there is no max_blocks', 'remove it or set max_blocks');
  return {};
}

function resolveOutputBlocks(reader: Reader, areCounted: boolean): Pick<RouterSpec, 'outputBlocks'> {
  if (reader.boolean('router.track_output_blocks') !== true) {
    reader.unread('router.output_decay', 'output blocks are not counted', 'remove it or set track_output_blocks: true');
    return {};
  }
  const fades = reader.boolean('router.output_decay') ?? true;
  if (areCounted) return { outputBlocks: fades ? 'fading' : 'full' };
  for (const name of ['track_output_blocks', 'output_decay']) reader.unreadField(`router.${name}`, 'blocks of running requests are not counted', 'remove it or set track_active_blocks: true');
  return {};
}

function resolvePrefillLoad(reader: Reader, isCounted: boolean): Pick<RouterSpec, 'prefillLoadModel'> {
  if (reader.choice<'none' | 'timing'>('router.prefill_load_model') !== 'timing') return {};
  if (isCounted) return { prefillLoadModel: 'timing' };
  reader.unreadField('router.prefill_load_model', 'prompt tokens still to compute are not counted', 'remove it or set track_prefill_tokens: true');
  return {};
}
