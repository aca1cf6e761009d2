import { readMeasurementFiles } from '../gpu/measurement-files.js';
import { measurementsOf } from '../gpu/read-measured.js';
import type { Imported, ImportOptions, Tally } from './imported.js';

/** Measurements of our own worker, as they were planned: their points keep their split. Records that cannot be true are counted as left out. Throws what `readMeasurementFiles` throws. */
export async function importWorker(source: string, _options: ImportOptions, tally: Tally): Promise<Imported> {
  const measurements = measurementsOf(readMeasurementFiles(source));
  tally.drop('record that no measurement can give', measurements.rejected.length);
  return { shape: 'records', measurements };
}
