// The pages, in a real Chromium.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { Stack } from './stack.mjs';

let stack;
let browser;

before(async () => {
  stack = await Stack.up();
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
  });
});
after(async () => {
  await browser?.close();
  stack?.down();
});

test('/docs shows every operation of the document, from our origin alone, and tries a request out', async () => {
  const page = await browser.newPage();
  const complaints = [];
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(`${stack.url}/`) && !request.url().startsWith('data:')) complaints.push(request.url());
  });
  await page.goto(`${stack.url}/docs`);
  assert.equal(page.url(), `${stack.url}/docs/`);
  await page.getByText('List the games', { exact: true }).waitFor();
  const { document, operations } = await import('../openapi/document.mjs');
  const streams = 1; // that of the relay, which is not among the handlers' operations
  const events = Object.keys(document.webhooks).length;
  assert.equal(await page.locator('.opblock').count(), operations.length + streams + events);

  const health = page.locator('#operations-Health-getHealth');
  await health.locator('button.opblock-summary-control').click();
  await health.getByText('Try it out').click();
  await health.getByText('Execute').click();
  await health.getByText('"status": "ok"').first().waitFor();
  assert.deepEqual(complaints, []);
  await page.close();
});
