/** `npm run conformance -- FOLDER…`: one line per recorded case, then totals; exit 1 when one is OFF. */
import { caseFolders, runCase, type Verdict } from './runner.js';

const [filter, folders] = process.argv.slice(2).reduce<[string, string[]]>(
  ([pattern, list], arg) => (arg.startsWith('--only=') ? [arg.slice(7), list] : [pattern, [...list, arg]]),
  ['', []],
);
if (folders.length === 0) {
  process.stderr.write('usage: npm run conformance -- FOLDER… [--only=TEXT]\n');
  process.exit(2);
}
const totals: Record<Verdict, number> = { EXACT: 0, CLOSE: 0, OFF: 0, REFUSED: 0 };
for (const folder of folders.flatMap(caseFolders).filter((path) => path.includes(filter))) {
  const result = await runCase(folder);
  totals[result.verdict]++;
  process.stdout.write(`${result.verdict.padEnd(8)} ${result.name.padEnd(32)} ${result.note}\n`);
}
process.stdout.write(`${Object.entries(totals).map(([verdict, count]) => `${count} ${verdict}`).join(', ')}\n`);
process.exit(totals.OFF > 0 ? 1 : 0);
