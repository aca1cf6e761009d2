import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { chromium, type Page } from 'playwright-core';

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

/** True where there is no browser and none is demanded. */
export const hasNoBrowser = !existsSync(CHROMIUM) && !process.env['CI'];

/** Opens a written page; `use` looks at it. Returns what it wrote to the console, threw, or asked for beside itself. */
export async function complaintsOf(path: string, use: (page: Page) => Promise<void>): Promise<string[]> {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    const complaints: string[] = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => { if (request.url() !== pathToFileURL(path).href && request.url() !== 'data:,') complaints.push(request.url()); });
    await page.goto(pathToFileURL(path).href);
    await use(page);
    if (process.env['SCREENSHOT']) await page.screenshot({ path: process.env['SCREENSHOT'], fullPage: true });
    return complaints;
  } finally {
    await browser.close();
  }
}
