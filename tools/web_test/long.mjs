// A real model in the page: SmolLM2-135M from its GGUF trains three steps in headless Chromium on its software adapter,
// which takes minutes, and the losses are compared with a native run's.
//   node long.mjs FOLDER
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { complaints, launch, until } from './browser.mjs';
import { askOnly, ready, record, set, steps } from './page.mjs';
import { download, losses, native, serve, unpack } from './program.mjs';

const [folder] = process.argv.slice(2);
const shared = process.env.QLORA_SHARED ?? '../shared';
const model = join(shared, 'models/SmolLM2-135M-Instruct.Q4_1.gguf'), rows = join(shared, 'data/alpaca_en_demo.json');
if (!folder || !existsSync(model) || !existsSync(rows)) {
  console.error(folder ? `this test wants ${model} and ${rows}` : 'usage: node long.mjs FOLDER');
  process.exit(2);
}
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const data = join(folder, 'alpaca.json');
await writeFile(data, JSON.stringify(JSON.parse(await readFile(rows, 'utf8')).slice(0, 8)));

// silence keeps in globalThis.longest for how long at most, in ms, nothing on the page has changed.
const silence = () => {
  globalThis.longest = { ms: 0, status: '' };
  let last = performance.now();
  document.addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
    const now = performance.now(), status = document.getElementById('status')?.innerText ?? '';
    if (globalThis.watching && now - last > globalThis.longest.ms) globalThis.longest = { ms: now - last, status };
    last = now;
  }).observe(document.getElementById('app'), { subtree: true, childList: true, characterData: true, attributes: true }));
};

const browser = await launch();
const { address, stop } = await serve();
let failed = true;
try {
  const context = await browser.newContext({ acceptDownloads: true });
  await context.addInitScript(record);
  await context.addInitScript(silence);
  const page = await context.newPage();
  const seen = complaints(page);
  await page.goto(address);
  await ready(page, 'Start');
  const start = Date.now(), took = () => `${((Date.now() - start) / 1e3).toFixed(0)} s`;
  await page.setInputFiles('#file-model', model);
  await until(page, 'the model is open', () => document.getElementById('model-name').textContent.startsWith('SmolLM2'));
  await page.setInputFiles('#file-data', data);
  await until(page, 'the examples are open', () => document.getElementById('data-name').textContent === 'alpaca.json');
  await set(page, { max_steps: 3, batch_size: 1, gradient_accumulation_steps: 1, max_seq_length: 64, save_steps: 3, val_size: 0 });
  await askOnly(page, ''); // each answer would take a minute
  await ready(page, 'Start');
  await page.evaluate(() => { globalThis.watching = true; });
  await page.click('#start');
  for (let step = 1; step <= 3; step++) {
    await until(page, `step ${step}`, (n) => {
      const error = document.querySelector('#messages .error');
      if (error) throw new Error(error.innerText);
      return globalThis.messages.some(({ event, step }) => event === 'step' && step.step === n);
    }, step, 3600e3);
    console.log(`step ${step} after ${took()}`);
  }
  await ready(page, 'Train again');
  const { ms, status } = await page.evaluate(() => globalThis.longest);
  console.log(`the longest time without a change on the screen was ${(ms / 1e3).toFixed(1)} s, before “${status}”`);
  const heap = await page.evaluate(() => globalThis.messages.findLast(({ event }) => event === 'load').heap);
  console.log(`while the weights passed through it, the engine's heap grew by ${(heap.peak / 2 ** 20).toFixed(1)} MiB of objects`);
  assert.ok(heap.peak > 0 && heap.peak <= 16 * 2 ** 20, 'the weights are not passed on in parts');
  const here = await steps(page);
  await unpack(await download(page, 'save-checkpoint'), folder);
  await native('train', '--model', model, '--config', join(folder, 'config.yaml'), '--data', data, '--output-dir', join(folder, 'native'));
  const there = await losses(join(folder, 'native'));
  for (const [step, loss] of there) {
    console.log(`step ${step}: ${here.get(step)} in the tab, ${loss} natively`);
    assert.ok(Math.abs(here.get(step) - loss) <= 1e-3, 'the losses differ');
  }
  assert.equal(there.size, 3);
  assert.deepEqual(seen, []);
  failed = false;
} finally {
  await browser.close();
  stop();
}
process.exitCode = failed ? 1 : 0;
