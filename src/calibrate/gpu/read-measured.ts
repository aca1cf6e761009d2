import { existsSync, statSync } from 'node:fs';
import { InputError } from '../../core/problem.js';
import { readText } from '../../core/read-text.js';
import { readMeasurementFiles, type MeasurementFiles } from './measurement-files.js';
import { Identities, type MeasuredModel, type MeasuredRecord, type Measurements } from './measurements.js';
import { isNormalisedHeader, readNormalised } from './normalised.js';
import { geometryHash } from './points.js';

/** Name of the engine whose kernels the worker runs. */
export const WORKER_ENGINE = 'dynotwin-worker';

/** Measurements of a worker (a file, its rotations, or the folder of a run), or a normalised CSV. Throws `E-FILE` and what the two readers throw. */
export function readMeasured(path: string): Measurements {
  if (!existsSync(path)) throw new InputError({ code: 'E-FILE', file: path, what: 'no such file or folder', hint: 'check the path' });
  if (!statSync(path).isDirectory() && isNormalisedHeader(readText(path).split('\n', 1)[0]!)) return readNormalised(path);
  return measurementsOf(readMeasurementFiles(path));
}

/** A worker's files as measurements: one identity, its engine the worker's own kernels. */
export function measurementsOf({ files, head, models: loaded, records }: MeasurementFiles): Measurements {
  const { worker, kind, versions, gpu, software, hardware, plan_hash: planHash } = head;
  const names = new Set(loaded.map(({ load }) => load.model.name));
  const identities = new Identities();
  const engine = { name: WORKER_ENGINE, version: String(Math.max(...versions)) };
  const identity = identities.index(
    { source: 'worker', kind, worker, gpu: gpu.name, driver: known(gpu.driver), cuda: known(gpu.cuda), torch: known(software.torch), triton: known(software.triton), hardware, model: names.size === 1 ? [...names][0]! : null, engine, planHash },
    files[0]!,
    1,
  );
  const models = loaded.map(({ load, ready, file, line }): MeasuredModel => ({ geometryHash: geometryHash(load.model), geometry: load.model, tp: load.shard.tp, dtype: load.dtype, load, ready, identity, file, line }));
  return {
    identities: identities.list,
    models,
    records: records.map(({ record, file, line }): MeasuredRecord => ({ record, identity, file, line })),
  };
}

/** Blank = not known. */
function known(text: string): string | null {
  return text === '' ? null : text;
}
