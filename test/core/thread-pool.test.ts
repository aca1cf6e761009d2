import { afterEach, describe, expect, it } from 'vitest';
import { ThreadPool, type Job } from '../../src/core/thread-pool.js';

interface Shared {
  readonly name: string;
  readonly counter: Int32Array;
}
type Answer = { readonly twice: number; readonly shared: string; readonly sent: number };
type TestPool = ThreadPool<Shared, number | string, Answer>;

const FILE = new URL('./fixtures/thread.mjs', import.meta.url);
const open: TestPool[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((pool) => pool.close()));
});

function start(threads: number, extra: { signal?: AbortSignal; shared?: (group: string) => Promise<Shared> } = {}): { pool: TestPool; made: string[]; counter: Int32Array } {
  const made: string[] = [];
  const counter = new Int32Array(new SharedArrayBuffer(4));
  const shared = async (group: string): Promise<Shared> => {
    made.push(group);
    return { name: group, counter };
  };
  const pool: TestPool = new ThreadPool({ file: FILE, threads, shared, ...extra });
  open.push(pool);
  return { pool, made, counter };
}
const jobs = (...pairs: [string, number | string][]): Job<number | string>[] => pairs.map(([group, input]) => ({ group, input }));

describe('ThreadPool', () => {
  it.each([1, 2, 5])('gives outcomes in the order of the jobs with %d threads, and makes shared data once per group', async (threads) => {
    const { pool, made } = start(threads);
    const progress: number[] = [];
    const outcomes = await pool.run(jobs(['x', 1], ['y', 2], ['x', 3], ['y', 4], ['x', 5]), (index) => progress.push(index));
    expect(outcomes.map((outcome) => outcome.ok && [outcome.value.twice, outcome.value.shared])).toEqual([[2, 'x'], [4, 'y'], [6, 'x'], [8, 'y'], [10, 'x']]);
    expect(made).toEqual(['x', 'y']);
    expect(progress.sort()).toEqual([0, 1, 2, 3, 4]);
  });

  it('sends shared data to a thread only when the group changes, and keeps threads between runs', async () => {
    const { pool } = start(1);
    const first = await pool.run(jobs(['x', 1], ['x', 2], ['y', 3]));
    const second = await pool.run(jobs(['y', 4], ['x', 5]));
    expect([...first, ...second].map((outcome) => outcome.ok && outcome.value.sent)).toEqual([1, 1, 2, 2, 3]);
  });

  it('a refused job, a thread that throws and one that exits fail alone; the rest goes on', async () => {
    const { pool } = start(2);
    const outcomes = await pool.run(jobs(['x', 1], ['x', 'die'], ['x', 'throw'], ['x', 'refuse'], ['x', 5], ['x', 6]));
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.value.twice : outcome.reason))).toEqual([2, 'its thread ended with code 7', 'its thread died: out of memory', 'no room', 10, 12]);
  });

  it('shares memory with its threads', async () => {
    const { pool, counter } = start(2);
    await pool.run(jobs(...Array.from({ length: 8 }, (): [string, string] => ['x', 'count'])));
    expect(counter[0]).toBe(8);
  });

  it('rejects when shared data cannot be made', async () => {
    const { pool } = start(2, { shared: () => Promise.reject(new Error('bad trace')) });
    await expect(pool.run(jobs(['x', 1], ['x', 2], ['x', 3]))).rejects.toThrow('bad trace');
  });

  it('stops at once when aborted, before and during a run', async () => {
    const abort = new AbortController();
    const { pool } = start(2, { signal: abort.signal });
    setTimeout(() => abort.abort(new Error('interrupted')), 50);
    await expect(pool.run(jobs(['x', 'hang'], ['x', 'hang'], ['x', 1]))).rejects.toThrow('interrupted');
    await expect(pool.run(jobs(['x', 1]))).rejects.toThrow('interrupted');
  });
});
