import { readMeasurementFiles } from '../gpu/measurement-files.js';
import { measurementsOf } from '../gpu/read-measured.js';
import type { Imported } from './imported.js';

/** Measurements of our own worker, as they were planned: their points keep their split. Those that cannot be true stay: a fit rejects them. Throws what `readMeasurementFiles` throws. */
export async function importWorker(source: string): Promise<Imported> {
  return { shape: 'records', measurements: measurementsOf(readMeasurementFiles(source)) };
}
