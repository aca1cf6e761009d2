/** Style sheet of the page: one column, system fonts, light and dark. */
export const STYLE = `
:root { --ink: #1d2430; --soft: #5b6675; --line: #d9dee6; --paper: #ffffff; --panel: #f6f8fa; --good: #1f7a4d; --bad: #b3362b; --accent: #2f6fb3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ef; --soft: #9aa7b8; --line: #343d4a; --paper: #14181f; --panel: #1c222b; --good: #5cc493; --bad: #f0857a; --accent: #74b0ee; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 28px 24px 64px; background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 4px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 44px 0 6px; }
h3 { font-size: 15px; margin: 0 0 4px; overflow-wrap: anywhere; }
p { margin: 4px 0 10px; max-width: 78ch; }
ul { margin: 4px 0 10px; padding-left: 20px; max-width: 78ch; }
code { font: 0.92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.soft { color: var(--soft); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.kicker { color: var(--soft); font-size: 13px; margin: 0 0 14px; }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; }
.hero { border-left: 4px solid var(--accent); }
.hero h2 { margin: 0 0 4px; font-size: 21px; overflow-wrap: anywhere; }
.tiles { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 12px 0 6px; padding: 0; }
.tiles div { min-width: 92px; }
.tiles dt { color: var(--soft); font-size: 12.5px; }
.tiles dd { margin: 0; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 14px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 8px 20px; }
@media (max-width: 520px) { .two, .cards { grid-template-columns: minmax(0, 1fr); } }
figure { margin: 10px 0; min-width: 0; }
figcaption { font-weight: 600; font-size: 14px; margin-bottom: 2px; }
.chart { width: 100%; }
.chart svg { display: block; max-width: 100%; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 9px; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
thead th { background: var(--panel); }
.scroll + p { margin-top: 14px; }
.number { text-align: right; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
tr.infeasible td { color: var(--soft); }
tr.front td:first-child { box-shadow: inset 3px 0 0 var(--accent); }
td.why { white-space: normal; min-width: 150px; }
.filter { display: inline-flex; gap: 6px; align-items: center; margin: 0 0 8px; cursor: pointer; }
.margins { list-style: none; padding: 0; margin: 8px 0 0; font-size: 13.5px; }
.margins li { display: flex; justify-content: space-between; gap: 14px; border-top: 1px solid var(--line); padding: 3px 0; }
.margins li > :first-child { overflow-wrap: anywhere; }
.margins li > :last-child { white-space: nowrap; }
#tip { position: fixed; z-index: 9; pointer-events: none; max-width: 420px; background: var(--paper); color: var(--ink); border: 1px solid var(--line); border-radius: 8px; box-shadow: 0 4px 18px rgb(0 0 0 / 0.22); padding: 8px 11px; font-size: 12.5px; line-height: 1.45; white-space: pre-line; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
#tip[hidden] { display: none; }
#tip::first-line { font-weight: 650; }
@media print { body { max-width: none; } .filter { display: none; } }
`;

/** The page's own script: draws the charts, shows tooltips, sorts and filters the table. */
export const CLIENT = `
'use strict';
const tip = document.getElementById('tip');
function showTip(handler, event, item, value) {
  tip.hidden = value == null || value === '';
  if (tip.hidden) return;
  tip.textContent = String(value);
  const box = tip.getBoundingClientRect();
  const left = event.clientX + 14 + box.width > innerWidth ? event.clientX - box.width - 14 : event.clientX + 14;
  tip.style.left = Math.max(4, left) + 'px';
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + 'px';
}
const charts = JSON.parse(document.getElementById('charts').textContent);
Promise.all(charts.map(({ id, spec }) =>
  new vega.View(vega.parse(spec), { renderer: 'svg', hover: true, logLevel: vega.Warn }).tooltip(showTip).initialize('#' + id).runAsync(),
)).then(() => { document.documentElement.dataset.drawn = String(charts.length); });

for (const table of document.querySelectorAll('table.sortable')) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.querySelector('button')?.addEventListener('click', () => {
    const descending = header.getAttribute('aria-sort') === 'ascending';
    for (const other of headers) other.removeAttribute('aria-sort');
    header.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
    const numeric = header.classList.contains('number');
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const order = (a, b) => {
      if (!numeric) return (descending ? -1 : 1) * key(a).localeCompare(key(b), 'en', { numeric: true });
      const [x, y] = [key(a), key(b)];
      if (x === '' || y === '') return Number(x === '') - Number(y === '');
      return (descending ? -1 : 1) * (Number(x) - Number(y));
    };
    body.append(...[...body.rows].sort(order));
  }));
}
const filter = document.getElementById('feasible-only');
filter?.addEventListener('change', () => {
  for (const row of document.querySelectorAll('#candidates tbody tr')) row.hidden = filter.checked && row.classList.contains('infeasible');
});
`;
