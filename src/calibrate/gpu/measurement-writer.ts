import { closeSync, existsSync, fstatSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { measurementPaths, rotatedFile, type MeasurementEnd, type MeasurementHead, type PointRecord } from './measurement-files.js';
import type { LoadModel } from './points.js';
import type { ModelReady } from './records.js';
import { WIRE_VERSION } from './wire.js';

/** A file that would grow beyond is continued in the next rotation, bytes. */
export const ROTATE_BYTES = 14_000_000;

/** Appends lines to a file of measurements, each flushed to the disk before the next point is measured. What stands there already is kept. */
export class MeasurementWriter {
  readonly #path: string;
  readonly #head: MeasurementHead;
  readonly #rotateBytes: number;
  #part: number;
  #file: number;
  #bytes = 0;

  constructor(path: string, head: MeasurementHead, rotateBytes = ROTATE_BYTES) {
    this.#path = path;
    this.#head = head;
    this.#rotateBytes = rotateBytes;
    this.#part = Math.max(0, measurementPaths(path).length - 1);
    cutTornLine(rotatedFile(path, this.#part));
    this.#file = this.#open();
  }

  modelReady(load: LoadModel, ready: ModelReady): void {
    this.#append({ type: 'model_ready', load, ...ready });
  }

  record(record: PointRecord): void {
    this.#append({ type: 'result', ...record });
  }

  /** Writes the last line of a run. */
  end(end: MeasurementEnd): void {
    this.#append({ type: 'end', ...end });
  }

  close(): void {
    closeSync(this.#file);
  }

  #append(message: object): void {
    const line = lineOf(message);
    if (this.#bytes + line.length > this.#rotateBytes) {
      this.close();
      this.#part++;
      this.#file = this.#open();
    }
    this.#write(line);
  }

  #open(): number {
    this.#file = openSync(rotatedFile(this.#path, this.#part), 'a');
    this.#bytes = fstatSync(this.#file).size;
    if (this.#bytes === 0) this.#write(lineOf(this.#head));
    return this.#file;
  }

  #write(line: Buffer): void {
    writeSync(this.#file, line);
    fsyncSync(this.#file);
    this.#bytes += line.length;
  }
}

function lineOf(message: object): Buffer {
  return Buffer.from(`${JSON.stringify({ v: WIRE_VERSION, ...message })}\n`);
}

/** Whatever follows the last line break was being written when its run was cut off. */
function cutTornLine(path: string): void {
  if (existsSync(path)) truncateSync(path, readFileSync(path).lastIndexOf('\n') + 1);
}
