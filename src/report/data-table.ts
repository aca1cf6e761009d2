import { html, type Markup } from './html.js';

/** A column of a table. */
export interface Column {
  readonly title: string;
  readonly number?: boolean;
}

/** A table that sorts by the column that is clicked; numbers to four digits, null is a dash. */
export function table(columns: readonly Column[], rows: readonly (readonly (string | number | null)[])[]): Markup {
  const cell = (value: string | number | null, { number }: Column): Markup =>
    number === true ? html`<td class="number" data-value="${typeof value === 'number' ? value : ''}">${typeof value === 'number' ? Number(value.toPrecision(4)) : value ?? '–'}</td>` : html`<td>${value ?? '–'}</td>`;
  return html`<div class="scroll"><table class="sortable"><thead><tr>${columns.map(({ title, number }) => html`<th${number === true ? html` class="number"` : null}><button>${title}</button></th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map((value, i) => cell(value, columns[i]!))}</tr>`)}</tbody></table></div>`;
}

/** A column of text. */
export const text = (title: string): Column => ({ title });
/** A column of numbers. */
export const number = (title: string): Column => ({ title, number: true });
