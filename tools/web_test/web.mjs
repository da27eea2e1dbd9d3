// Drives the page as a user does, in headless Chromium on its software adapter.
//   node web.mjs FOLDER [NAME]
// FOLDER gets screenshots and whatever the tests write; only tests whose name fits the expression NAME run. The first
// four build on each other.
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { absence } from './absence.mjs';
import { complaints, launch, sleep } from './browser.mjs';
import { earlier } from './earlier.mjs';
import { inputs } from './inputs.mjs';
import { accessible, binary, record, serve } from './page.mjs';
import { training } from './training.mjs';

const [folder, only = ''] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node web.mjs FOLDER [NAME]');
  process.exit(2);
}
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const path = (...names) => join(folder, ...names);

const { address, stop } = await serve();
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', acceptDownloads: true });
await context.addInitScript(record);

// open opens the page and holds it to silence: in the console, and towards other servers than its own and, while a test
// wants that, page.foreign.
async function open(where = context) {
  const page = await where.newPage();
  page.seen = complaints(page);
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(address) && !/^(data|blob):/.test(url) &&
      !(page.foreign && url.startsWith(`${page.foreign}/`))) page.seen.push(`a request to ${url}`);
  });
  await page.goto(address);
  return page;
}

async function shoot(page, name) {
  for (const width of [1280, 390]) {
    for (const scheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.evaluate(() => scrollTo(0, 0));
      await sleep(200); // the chart is drawn again
      await page.screenshot({ path: path(`${name}-${width}-${scheme}.png`), fullPage: true });
      await page.screenshot({ path: path(`${name}-${width}-${scheme}-top.png`) });
      assert.deepEqual(await accessible(page), [], `axe-core at ${width} px, ${scheme}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `the page is ${wide} px wider than a screen of ${width}`);
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: 'light' });
}

// t is what the tests share: the open page among it, and the losses of the run that nothing interrupted.
const t = { address, browser, open, shoot, accessible, path, page: null, whole: null };
const tests = { ...training, ...inputs, ...earlier, ...absence };

let failed = 0, ran = 0;
try {
  for (const [name, test] of Object.entries(tests)) {
    if (!new RegExp(only).test(name)) continue;
    ran++;
    const start = Date.now();
    try {
      await test(t);
      assert.deepEqual(t.page?.seen ?? [], [], 'the console complained');
      console.log(`ok   ${name} (${((Date.now() - start) / 1e3).toFixed(0)} s)`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.message}`);
      await t.page?.screenshot({ path: path('failed.png'), fullPage: true }).catch(() => {});
      break; // those that follow build on it
    }
  }
} finally {
  await browser.close();
  stop();
}
console.log(`${ran - failed} of ${ran} tests of the page passed (${binary})`);
process.exitCode = failed === 0 && ran > 0 ? 0 : 1;
