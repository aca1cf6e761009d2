/** What draws with Vega, loaded by those who draw: it takes longer to load than most commands to run. */
export async function loadDrawing(): Promise<typeof import('../report/page.js') & typeof import('../report/svg.js')> {
  return { ...(await import('../report/page.js')), ...(await import('../report/svg.js')) };
}
