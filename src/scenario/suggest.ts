/** Words of other tools and older versions, and ours. */
const SYNONYMS: Readonly<Record<string, string>> = {
  kv_router: 'kv', 'kv-aware': 'kv', kv_aware: 'kv', 'round-robin': 'round_robin', rr: 'round_robin', 'least-loaded': 'least_loaded', 'device-aware-weighted': 'device_aware',
  input_tokens: 'isl', output_tokens: 'osl', input_length: 'isl', output_length: 'osl', qps: 'rate', request_rate: 'rate', num_requests: 'requests',
  tensor: 'tp', tensor_parallel_size: 'tp', num_workers: 'replicas', workers: 'replicas', gpu: 'hardware', system: 'hardware', backend: 'engine',
  max_model_len: 'context_length', gpu_memory_utilization: 'memory_fraction', num_gpu_blocks: 'blocks', enable_prefix_caching: 'prefix_caching',
  enable_chunked_prefill: 'chunked_prefill', preemption_mode: 'preemption', router_temperature: 'temperature', max_batched_tokens: 'max_num_batched_tokens',
  max_sequences: 'max_num_seqs', tpot: 'itl', sla: 'slo', dynamo: 'dynosim', replay: 'dynosim', aggregated: 'agg', disaggregated: 'disagg',
  ttft_ms: 'ttft', itl_ms: 'itl', speedup_ratio: 'speedup', trace_block_size: 'block_size',
};

/** Edit distance with transpositions (optimal string alignment), in code units. */
export function editDistance(a: string, b: string): number {
  const rows: number[][] = Array.from({ length: a.length + 1 }, (_, i) => [i, ...Array<number>(b.length).fill(0)]);
  for (let j = 1; j <= b.length; j++) rows[0]![j] = j;
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let best = Math.min(rows[i - 1]![j]! + 1, rows[i]![j - 1]! + 1, rows[i - 1]![j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      rows[i]![j] = best;
    }
  }
  return rows[a.length]![b.length]!;
}

/** The known name a misspelt one probably means: a synonym, or the nearest within distance 2 (shorter than the word itself). */
export function suggest(word: string, known: readonly string[]): string | undefined {
  const synonym = SYNONYMS[word.toLowerCase()];
  if (synonym !== undefined && known.includes(synonym)) return synonym;
  let best: string | undefined;
  let distance = Math.min(3, word.length);
  for (const candidate of known) {
    const d = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (d < distance) [best, distance] = [candidate, d];
  }
  return best;
}
