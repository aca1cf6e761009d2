import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configurationName, sweepDocument } from '../../src/report/document.js';
import { runPage, sweepPage } from '../../src/report/page.js';
import { fakeReport, fakeSweep, runSeries } from './fixtures.js';

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const missing = !existsSync(CHROMIUM) && !process.env['CI'];
if (missing) console.log(`skipped: no Chromium at ${CHROMIUM} (set CHROMIUM=PATH)`);

describe.skipIf(missing)('page in Chromium', () => {
  const series = runSeries();
  const folder = mkdtempSync(join(tmpdir(), 'dynotwin-page-'));
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens a page from its file; collects everything it says or asks for beyond that file. */
  async function open(text: string): Promise<{ page: Page; complaints: string[] }> {
    const path = join(folder, 'index.html');
    writeFileSync(path, text);
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const complaints: string[] = [];
    page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
    page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); void dialog.dismiss(); });
    page.on('request', (request) => { if (request.url() !== pathToFileURL(path).href && request.url() !== 'data:,') complaints.push(`request: ${request.url()}`); });
    await page.goto(pathToFileURL(path).href);
    await page.waitForSelector('html[data-drawn]', { state: 'attached', timeout: 20_000 });
    return { page, complaints };
  }

  const markCounts = (page: Page): Promise<Record<string, number>> => page.$$eval('.chart', (charts) => Object.fromEntries(charts.map((chart) => [chart.id, chart.querySelectorAll('svg [class*="role-mark"] path, svg [class*="role-mark"] line').length])));

  it('draws every chart without an error or a request', async () => {
    const { page, complaints } = await open(await sweepPage(fakeSweep(), { report: fakeReport(series), series }));
    const counts = await markCounts(page);
    expect(Object.keys(counts)).toEqual(['frontier-0', 'ttft', 'tpot', 'load', 'tokens']);
    expect(counts['frontier-0']).toBeGreaterThanOrEqual(23);
    expect(counts['ttft']).toBeGreaterThanOrEqual(10);
    expect(counts['load']).toBeGreaterThanOrEqual(4);
    expect(counts['tokens']).toBeGreaterThanOrEqual(1);
    expect(complaints).toEqual([]);
    await page.close();
  }, 60_000);

  it('names the configuration when a frontier point is hovered', async () => {
    const sweep = fakeSweep();
    const { page, complaints } = await open(await sweepPage(sweep, null));
    expect(await page.isVisible('#tip')).toBe(false);
    const { front } = sweepDocument(sweep);
    for (const one of [front[0]!, front.at(-1)!]) {
      await page.locator(`#frontier-0 path[aria-label*="${one.id}"]`).hover();
      expect(await page.isVisible('#tip')).toBe(true);
      const tip = await page.textContent('#tip');
      expect(tip!.split('\n')[0]).toBe(configurationName(one));
      expect(tip).toContain('tok/s/GPU: ');
    }
    await page.mouse.move(2, 2);
    expect(await page.isVisible('#tip')).toBe(false);
    expect(complaints).toEqual([]);
    await page.close();
  }, 60_000);

  it('sorts the table by click, both ways, and hides the infeasible', async () => {
    const { page, complaints } = await open(await sweepPage(fakeSweep(), null));
    const column = (index: number): Promise<string[]> => page.$$eval('#candidates tbody tr', (rows, at) => rows.map((row) => (row as HTMLTableRowElement).cells[at]!.dataset['value'] ?? ''), index);
    const headers = await page.$$eval('#candidates th', (cells) => cells.map((cell) => cell.textContent));
    const at = headers.indexOf('tok/s/GPU');
    await page.click('#candidates th button:text-is("tok/s/GPU")');
    const up = await column(at);
    expect(up.at(-1)).toBe('');
    expect(up.slice(0, -1).map(Number)).toEqual(up.slice(0, -1).map(Number).sort((a, b) => a - b));
    await page.click('#candidates th button:text-is("tok/s/GPU")');
    expect(await column(at)).toEqual([...up.slice(0, -1).reverse(), '']);
    expect(await page.getAttribute(`#candidates th:nth-child(${at + 1})`, 'aria-sort')).toBe('descending');
    await page.check('#feasible-only');
    expect(await page.$$eval('#candidates tbody tr', (rows) => rows.filter((row) => row.checkVisibility()).every((row) => row.classList.contains('feasible')))).toBe(true);
    expect(complaints).toEqual([]);
    await page.close();
  }, 60_000);

  it('runs nothing that stands in the data', async () => {
    const attack = `</script><script>document.title='owned'</script><img src="https://example.invalid/x" onerror="document.title='owned'">"'\${alert(1)}`;
    const { page, complaints } = await open(await sweepPage(fakeSweep(8, (text) => `${text}${attack}`), { report: fakeReport(series, attack), series }));
    expect(await page.title()).not.toBe('owned');
    expect(await page.$$('img')).toEqual([]);
    expect((await markCounts(page))['frontier-0']).toBeGreaterThanOrEqual(7);
    expect(complaints).toEqual([]);
    await page.close();
  }, 60_000);

  it('draws the page of one run', async () => {
    const { page, complaints } = await open(await runPage(fakeReport(series), series));
    const counts = await markCounts(page);
    expect(Object.keys(counts)).toEqual(['ttft', 'tpot', 'load', 'tokens']);
    expect(Object.values(counts).every((count) => count > 0)).toBe(true);
    expect(complaints).toEqual([]);
    await page.close();
  }, 60_000);
});
