/**
 * Share of the variance of a timing error (of its ln) that two results have in common, so that it cancels in their ratio.
 *
 * From the deviations that explain measured against simulated means (accuracy spec, section 4), in ln, TPOT and TTFT: what a group has
 * in common (model and precision 0/.06, group .06/.06, version .26/.41, cold start .10/0), what a layout adds (.13/.16, and .21/0 with
 * its GPUs), and what changes with load and lengths or is noise (the rest): Σ squares .168 and .350. Results of different groups are
 * taken as independent. These are shares before any measurement of the group; after one less is common, and ties are then
 * called a little too rarely.
 */
export const SHARED_VARIANCE = {
  /** Same group, workers laid out differently. */
  group: { ttft: 0.5, tpot: 0.48 },
  /** Same group and layout; loads may differ. */
  layout: { ttft: 0.57, tpot: 0.85 },
} as const;
