type Row = Record<string, unknown> & { hash_ids?: number[]; session_id?: string };

const TIMES = ['timestamp', 'created_time'] as const;

/**
 * A Mooncake trace `factor` times over, one copy after another in time. Each copy has hash ids and
 * sessions of its own, so that what is shared stays inside a copy.
 */
export function multiplyTrace(text: string, factor: number): string {
  const rows = text.split('\n').filter((line) => line.trim() !== '').map((line) => JSON.parse(line) as Row);
  let first = Infinity;
  let last = -Infinity;
  let ids = 0;
  for (const row of rows) {
    for (const key of TIMES) {
      const at = row[key];
      if (typeof at !== 'number') continue;
      first = Math.min(first, at);
      last = Math.max(last, at);
    }
    for (const id of row.hash_ids ?? []) ids = Math.max(ids, id + 1);
  }
  const length = last >= first ? (last - first) * (1 + 1 / Math.max(1, rows.length - 1)) : 0;
  const copy = (row: Row, number: number): string => {
    const moved: Row = { ...row };
    for (const key of TIMES) if (typeof row[key] === 'number') moved[key] = row[key] + number * length;
    if (row.hash_ids) moved.hash_ids = row.hash_ids.map((id) => id + number * ids);
    if (row.session_id !== undefined) moved.session_id = `${row.session_id}#${number}`;
    return JSON.stringify(moved);
  };
  const lines: string[] = [];
  for (let number = 0; number < factor; number++) for (const row of rows) lines.push(copy(row, number));
  return `${lines.join('\n')}\n`;
}
