import { boxCandidates, inside, pick, type Box, type Built, type Family, type FamilyName, type PointBody } from './family.js';
import { PAGE, type Target } from './target.js';

/** Operators outside passes: products, experts, memory-bound operators, copies, files, host actions (spec calibration 3.1). */

const powers = (from: number, to: number, by = 1): number[] => Array.from({ length: Math.floor((to - from) / by) + 1 }, (_, index) => 2 ** (from + by * index));

const ROWS = powers(0, 13);
const EXPERT_TOKENS = powers(0, 14);
const ROUTINGS = ['balanced', 'zipf 0.8', 'zipf 1.2'];
/** Tokens, and rows that yield a token, of memory-bound operators. */
const TOKENS = [1, 4, 16, 64, 256, 1024, 4096, 8192];
const TOKEN_ROWS = [1, 2, 8, 32, 64, 128, 256, 512];
const COPY_BYTES = powers(16, 30, 2);
/** Scattered KV blocks, one layer's page each. */
const BLOCKS = [16, 256, 4096];
/** Copies are whole memory pages. */
const COPY_MULTIPLE = 4096;
const FILE_BYTES = [2 ** 20, 2 ** 24, 2 ** 28];
const JUDGED = 8;

interface Cell {
  readonly name: string;
  readonly axis: readonly number[];
  readonly anchors: Box['anchors'];
  readonly body: (size: number) => PointBody;
  /** Sizes that held-out points may have. */
  readonly multiple?: number;
  /** As of `Box`. */
  readonly finer?: boolean;
}

/** A family of one size, in one or several cells. `later`: levels by which all of it is put off. */
function sized(name: FamilyName, label: string, cells: readonly Cell[], options: { readonly heldOut?: number; readonly later?: number } = {}): Family {
  const { heldOut = 1, later = 0 } = options;
  const boxes = cells.map((cell): Box => ({ cell: cell.name, axes: [cell.axis], anchors: cell.anchors, later: 0, finer: cell.finer === true, build: ([size]) => ({ body: cell.body(size!) }) }));
  const at = (cell: Cell, [size]: readonly number[]): number[] => [Math.max(cell.multiple ?? 1, Math.round(size! / (cell.multiple ?? 1)) * (cell.multiple ?? 1))];
  return {
    name,
    label,
    candidates: boxes.flatMap(boxCandidates).map((one) => ({ ...one, level: one.level + later })),
    heldOut,
    between: (u) => {
      const cell = pick(cells, u[1]!);
      const size = at(cell, inside([cell.axis], u));
      return { at: size, cell: cell.name, built: { body: cell.body(size[0]!) } };
    },
    refine: (name_, size): Built => {
      const cell = cells.find((one) => one.name === name_);
      return cell === undefined ? { refusal: 'of no operator of this model' } : { body: cell.body(at(cell, size)[0]!) };
    },
  };
}

/** Products of one shard's matrices. `later`: as of `sized`. */
export function matrixFamily({ matrices, tp }: Pick<Target, 'matrices' | 'tp'>, later: number): Family {
  const cells = matrices.map(({ n, k, dtype }): Cell => ({ name: `${n}x${k} ${dtype}`, axis: ROWS, anchors: 'all', finer: true, body: (m) => ({ kind: 'gemm', mode: 'graph', m, n, k, dtype }) }));
  return sized('gemm', `gemm tp ${tp}`, cells, { heldOut: later === 0 ? JUDGED : 1, later });
}

/** Routed experts of one layer; none for dense models. */
function expertFamilies({ geometry: { moe, hidden }, tp, weights, routing }: Target): Family[] {
  if (moe === undefined) return [];
  const { experts, top_k, ffn } = moe;
  const cells = [...new Set([routing, ...ROUTINGS])].map(
    (name): Cell => ({ name, axis: EXPERT_TOKENS, anchors: 'all', finer: true, body: (tokens) => ({ kind: 'moe', mode: 'graph', tokens, hidden, ffn: ffn / tp, experts, top_k, dtype: weights, routing: name }) }),
  );
  return [sized('moe', `moe tp ${tp}`, cells, { heldOut: JUDGED })];
}

/** Memory-bound operators of one shard. */
function memoryFamilies({ geometry, tp, ffn, vocab, attention, weights }: Target): Family[] {
  const { hidden, qk_norm, moe } = geometry;
  const plain = (name: FamilyName, axis: readonly number[], body: (size: number) => PointBody): Family => sized(name, `${name} tp ${tp}`, [{ name: '', axis, anchors: 'all', body }]);
  const width = moe === undefined || moe.dense_first > 0 ? ffn : (moe.shared_ffn || moe.ffn) / tp;
  const methods = (['argmax', 'top_p'] as const).map((method): Cell => ({ name: method, axis: TOKEN_ROWS, anchors: 'all', body: (rows) => ({ kind: 'sample', mode: 'graph', rows, vocab, method }) }));
  return [
    plain('norm', TOKENS, (tokens) => ({ kind: 'norm', mode: 'graph', tokens, hidden })),
    plain('act', TOKENS, (tokens) => ({ kind: 'act', mode: 'graph', tokens, ffn: width })),
    plain('rope_kv', TOKENS, (tokens) => ({ kind: 'rope_kv', mode: 'graph', tokens, ...attention, qk_norm })),
    plain('embed', TOKENS, (tokens) => ({ kind: 'embed', mode: 'graph', tokens, hidden, vocab })),
    plain('logits', TOKEN_ROWS, (rows) => ({ kind: 'logits', mode: 'graph', rows, hidden, vocab })),
    sized('sample', `sample tp ${tp}`, methods),
    ...(weights === 'bf16' ? [] : [plain('quant', TOKENS, (tokens) => ({ kind: 'quant', mode: 'graph', tokens, width: hidden, dtype: weights }))]),
  ];
}

/** Between host and GPU and on the GPU: pinned and pageable, whole, and KV blocks one by one or gathered first. */
function copyFamily({ kvTokenBytes }: Target): Family {
  const block = kvTokenBytes * PAGE;
  type Direction = 'h2d' | 'd2h' | 'd2d' | 'bidi';
  const whole = (direction: Direction, pinned: boolean): Cell => ({
    name: `${direction} ${pinned ? 'pinned' : 'pageable'}`,
    axis: COPY_BYTES,
    anchors: pinned ? 'all' : 'none',
    multiple: COPY_MULTIPLE,
    body: (bytes) => ({ kind: 'copy', mode: 'eager', direction, bytes, pinned, blocks: 0, gather: false }),
  });
  const scattered = (direction: Direction, gather: boolean): Cell => ({
    name: `${direction} blocks${gather ? ' gathered' : ''}`,
    axis: BLOCKS.map((blocks) => blocks * block),
    anchors: 'none',
    multiple: block,
    body: (bytes) => ({ kind: 'copy', mode: 'eager', direction, bytes, pinned: true, blocks: Math.round(bytes / block), gather }),
  });
  // Pageable copies do not overlap, and memory of the GPU is never pageable.
  const cells = [whole('h2d', true), whole('d2h', true), whole('d2d', true), whole('bidi', true), whole('h2d', false), whole('d2h', false)];
  const blocks = (['h2d', 'd2h', 'd2d'] as const).flatMap((direction) => [scattered(direction, false), scattered(direction, true)]);
  return sized('copy', 'copy', [...cells, ...blocks], { heldOut: JUDGED });
}

const fileFamily: Family = sized('disk', 'disk', (['read', 'write'] as const).map((op): Cell => ({ name: op, axis: FILE_BYTES, anchors: 'none', multiple: COPY_MULTIPLE, body: (bytes) => ({ kind: 'disk', mode: 'eager', op, bytes }) })), { later: 1 });

const hostFamily: Family = {
  name: 'host',
  label: 'host',
  candidates: (['empty_pass', 'launches', 'graph_launch', 'read_back'] as const).map((what, index) => ({ at: [index], cell: what, level: 0, built: { body: { kind: 'host', mode: 'eager', what } } })),
  heldOut: 0,
  between: null,
  refine: () => ({ refusal: 'nothing lies between host actions' }),
};

/** Operators of one shard beside attention and passes. */
export function operatorFamilies(target: Target): Family[] {
  return [matrixFamily(target, 0), ...expertFamilies(target), ...memoryFamilies(target)];
}

/** What depends on no model's split. */
export function machineFamilies(target: Target): Family[] {
  return [hostFamily, copyFamily(target), fileFamily];
}

/** Coordinates and cell of a measured operator or copy, named as in the families above; null for other kinds. */
export function coordinatesOfOperator(body: PointBody): { readonly name: FamilyName; readonly cell: string; readonly at: readonly number[] } | null {
  switch (body.kind) {
    case 'gemm':
      return { name: 'gemm', cell: `${body.n}x${body.k} ${body.dtype}`, at: [body.m] };
    case 'moe':
      return { name: 'moe', cell: body.routing, at: [body.tokens] };
    case 'norm':
    case 'act':
    case 'rope_kv':
    case 'embed':
    case 'quant':
      return { name: body.kind, cell: '', at: [body.tokens] };
    case 'logits':
      return { name: 'logits', cell: '', at: [body.rows] };
    case 'sample':
      return { name: 'sample', cell: body.method, at: [body.rows] };
    case 'copy': {
      const scattered = `blocks${body.gather ? ' gathered' : ''}`;
      return { name: 'copy', cell: `${body.direction} ${body.blocks > 0 ? scattered : body.pinned ? 'pinned' : 'pageable'}`, at: [body.bytes] };
    }
    default:
      return null;
  }
}
