// Drives the page as a visitor does, in headless Chromium on its software adapter or, where FIREFOX
// names its executable, in Firefox.
//   node web.mjs FOLDER [NAME]
// FOLDER gets screenshots and whatever the tests write; only tests whose name fits the expression NAME run. Every test
// opens the page in a context of its own, but for those of training.mjs, which build on each other.
import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { absence } from './absence.mjs';
import { complaints, inFirefox, launch } from './browser.mjs';
import { drafts } from './drafts.mjs';
import { earlier } from './earlier.mjs';
import { ends } from './ends.mjs';
import { exporting } from './exporting.mjs';
import { families } from './families.mjs';
import { faults } from './faults.mjs';
import { hub } from './hub.mjs';
import { inputs } from './inputs.mjs';
import { inspected } from './inspected.mjs';
import { kept } from './kept.mjs';
import { keyboard } from './keyboard.mjs';
import { record } from './page.mjs';
import { binary, serve } from './program.mjs';
import { runs } from './runs.mjs';
import { share } from './share.mjs';
import { starts } from './starts.mjs';
import { tabs } from './tabs.mjs';
import { training } from './training.mjs';
import { views } from './views.mjs';
import { walk } from './walk.mjs';

const [folder, only = ''] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node web.mjs FOLDER [NAME]');
  process.exit(2);
}
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const path = (...names) => join(folder, ...names);

const browser = await launch();
const { address, stop } = await serve();
let pages = []; // that the running test has opened

// context is a browser of its own: nothing is in it, and scripts runs in its pages before theirs.
async function context(...scripts) {
  const made = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', acceptDownloads: true });
  for (const script of [record, ...scripts]) await made.addInitScript(script);
  return made;
}

// open opens the page and holds it to silence: in the console, and towards other servers than its own and, while a test
// wants that, page.foreign. What fits page.expected may be complained about.
async function open(where) {
  const page = await (where ?? await context()).newPage();
  if (inFirefox) page.fill = (selector, value) => write(page, selector, value);
  page.seen = complaints(page);
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(address) && !/^(data|blob):/.test(url) &&
      !(page.foreign && url.startsWith(`${page.foreign}/`))) page.seen.push(`a request to ${url}`);
  });
  pages.push(page);
  await page.goto(address);
  return page;
}

// write puts a value into a field as its events do: driving Firefox, Playwright adds to what is in a field of numbers.
const write = (page, selector, value) => page.locator(selector).evaluate((field, value) => {
  field.value = value;
  for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));
}, value);

async function silent(page) {
  const seen = page.seen.filter((line) => !page.expected?.test(line));
  assert.deepEqual(seen, [], 'the console complained');
  if (page.isClosed()) return;
  assert.deepEqual(await page.evaluate(() => globalThis.lies), [], 'the page said that it is ready where Start was off');
  const said = await page.$$eval('#messages .message p:first-child', (all) => all.map((e) => e.innerText));
  assert.deepEqual(said, [...new Set(said)], 'the page says something twice');
}

const t = { address, browser, context, open, path };
const tests = { ...training, ...ends, ...starts, ...inputs, ...hub, ...kept, ...share, ...drafts, ...runs, ...faults, ...earlier,
  ...exporting, ...families, ...inspected, ...absence, ...tabs, ...keyboard, ...views, ...walk };

const failed = [], skipped = [], begun = Date.now();
let ran = 0;
try {
  for (const [name, test] of Object.entries(tests)) {
    if (!new RegExp(only, 'i').test(name)) continue;
    ran++;
    const start = Date.now(), took = () => `${((Date.now() - start) / 1e3).toFixed(0)} s`;
    const kept = new Set(browser.contexts());
    try {
      await test(t);
      for (const page of pages) await silent(page);
      console.log(`ok   ${name} (${took()})`);
    } catch (error) {
      if (error.skip) skipped.push(name);
      else failed.push(name);
      console.log(error.skip ? `skip ${name}: ${error.message}` : `FAIL ${name} (${took()}): ${error.stack}`);
      for (const page of pages) await page.screenshot({ path: path(`failed-${failed.length}.png`), fullPage: true }).catch(() => {});
    }
    pages = [];
    // what a test of training leaves open is for the next one
    if (!(name in training)) for (const each of browser.contexts()) if (!kept.has(each)) await each.close();
  }
} finally {
  await browser.close();
  stop();
}
const passed = ran - failed.length - skipped.length;
console.log(`${passed} of ${ran} tests of the page passed in ${((Date.now() - begun) / 1e3).toFixed(0)} s (${binary})`);
for (const name of skipped) console.log(`skipped: ${name}`);
for (const name of failed) console.log(`failed: ${name}`);
process.exitCode = failed.length === 0 && ran > 0 ? 0 : 1;
