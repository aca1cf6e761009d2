import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InputError } from '../core/problem.js';
import { fitLinear, type LinearFit } from './least-squares.js';
import { readNpz } from './npz.js';
import type { ProfileTable } from './profile-table.js';

/** Points of every axis. */
const POINTS = 100;
/** Fitted times are no shorter, s. */
const LEAST_S = 1e-6;
/** A slope of the number of requests below this is noise and counts as 0, s. */
const NOISE_S = -1e-6;

type Stage = 'prefill' | 'decode';
const rawNpz = (folder: string, stage: Stage): string => join(folder, `selected_${stage}_interpolation`, 'raw_data.npz');
const rawJson = (folder: string, stage: Stage): string => join(folder, `${stage}_raw_data.json`);

/** True for a folder with the profiler's raw data of both stages. */
export function isProfilerFolder(folder: string): boolean {
  return (['prefill', 'decode'] as const).every((stage) => existsSync(rawNpz(folder, stage)) || existsSync(rawJson(folder, stage)));
}

/**
 * The profiler's measurements as a table: prefill time fitted over tokens, decode time over requests and KV tokens, each
 * by ordinary least squares, then evaluated on 100 points an axis (a decode point holds max(1, kv / context) requests).
 * Throws `E-FILE` naming file and array. Source: spec planner sections 4.1 ("older") and 6.
 */
export function tabulateProfiler(folder: string): Omit<ProfileTable, 'name'> {
  const prefill = readStage(folder, 'prefill');
  const tokens = prefill.list('prefill_isl').map(Math.trunc);
  const prefillFit = prefill.fit('prefill_ttft', [tokens]);
  const decode = readStage(folder, 'decode');
  const most = Math.trunc(decode.one('max_kv_tokens'));
  const contexts = decode.list('y_context_length');
  const kv = decode.list('x_kv_usage').map((share) => roundHalfEven(share * most));
  if (contexts.length !== kv.length) throw decode.refuse('y_context_length', `holds ${contexts.length} values and x_kv_usage ${kv.length}`);
  const requests = kv.map((sum, i) => (contexts[i]! > 0 ? Math.max(1, roundHalfEven(sum / contexts[i]!)) : 1));
  const decodeFit = decode.fit('z_itl', [requests, kv]);
  const prefillTokens = linspace(Math.min(...tokens), Math.max(...tokens));
  const kvTokens = linspace(0, Math.max(...kv));
  const contextTokens = linspace(1, Math.max(...kv.map((sum, i) => sum / requests[i]!)));
  const decodeMs = new Float64Array(POINTS * POINTS);
  kvTokens.forEach((sum, i) => contextTokens.forEach((context, j) => (decodeMs[i * POINTS + j] = evaluate(decodeFit, [Math.max(1, sum / context), sum]))));
  return { prefillTokens, prefillMs: prefillTokens.map((isl) => evaluate(prefillFit, [isl])), kvTokens, contextTokens, decodeMs };
}

/** One stage's arrays, from .npz where there is one, else from JSON. */
function readStage(folder: string, stage: Stage): RawData {
  const npz = rawNpz(folder, stage);
  if (existsSync(npz)) {
    const arrays = readNpz(npz);
    return new RawData(npz, (name) => arrays.get(name)?.values);
  }
  const file = rawJson(folder, stage);
  let values: unknown;
  try {
    values = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    const hint = `a profile folder holds ${['prefill', 'decode'].map((one) => `selected_${one}_interpolation/raw_data.npz or ${one}_raw_data.json`).join(', and ')}`;
    throw new InputError({ code: 'E-FILE', file, what: existsSync(file) ? `is not JSON (${(error as Error).message})` : 'no such file', hint });
  }
  return new RawData(file, (name) => (values as Readonly<Record<string, unknown>> | null)?.[name]);
}

class RawData {
  constructor(private readonly file: string, private readonly get: (name: string) => unknown) {}

  refuse(path: string, what: string): InputError {
    return new InputError({ code: 'E-FILE', file: this.file, path, what, hint: 'give the raw data that the profiler wrote' });
  }

  list(name: string): number[] {
    const value = this.get(name);
    if (value === undefined) throw this.refuse(name, 'missing');
    if (!(Array.isArray(value) || value instanceof Float64Array)) throw this.refuse(name, 'is not a list of numbers');
    const list = Array.from(value as ArrayLike<unknown>);
    if (list.length === 0) throw this.refuse(name, 'is empty');
    const wrong = list.findIndex((one) => typeof one !== 'number' || !Number.isFinite(one));
    if (wrong >= 0) throw this.refuse(name, `holds ${JSON.stringify(list[wrong])} at index ${wrong}, not a finite number`);
    return list as number[];
  }

  /** A number, or a list whose first value it is. */
  one(name: string): number {
    const value = this.get(name);
    return typeof value === 'number' && Number.isFinite(value) ? value : this.list(name)[0]!;
  }

  /** Times in s, fitted over the features; times of 0 are no measurement. */
  fit(name: string, features: readonly (readonly number[])[]): LinearFit {
    const times = this.list(name).map((ms) => ms / 1000);
    if (times.length !== features[0]!.length) throw this.refuse(name, `holds ${times.length} values for ${features[0]!.length} points`);
    const kept = times.map((_, i) => i).filter((i) => times[i] !== 0);
    if (kept.length === 0) throw this.refuse(name, 'holds no time above 0');
    const pick = (values: readonly number[]): number[] => kept.map((i) => values[i]!);
    const { intercept, slopes } = fitLinear(features.map(pick), pick(times));
    if (slopes.at(-1)! < 0) throw this.refuse(name, 'falls with the tokens: no time model fits it');
    return { intercept, slopes: slopes.map((slope, i) => (i < slopes.length - 1 && slope < NOISE_S ? 0 : slope)) };
  }
}

function evaluate({ intercept, slopes }: LinearFit, features: readonly number[]): number {
  return Math.max(LEAST_S, slopes.reduce((sum, slope, i) => sum + slope * features[i]!, 0) + intercept) * 1000;
}

function linspace(from: number, to: number): Float64Array {
  const step = (to - from) / (POINTS - 1);
  return Float64Array.from({ length: POINTS }, (_, i) => (i === POINTS - 1 ? to : from + i * step));
}

function roundHalfEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}
