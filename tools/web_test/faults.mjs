// What a browser, a disk or a connection refuses: the page trains, or says what is missing and what helps.
import assert from 'node:assert/strict';
import { refused, sleep, until } from './browser.mjs';
import { afterStep, engine, errors, look, prepare, ready, said, status, steps, text, tiny } from './page.mjs';
import { download } from './program.mjs';

// inWorker runs a script before the engine's own.
async function inWorker(context, script) {
  await context.route('**/worker.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `(${script})();\n${await response.text()}` });
  });
}

// without opens the page where a file of it does not arrive, and gives a function that lets it.
async function without(t, name) {
  const context = await t.context();
  await context.route(`**/${name}`, (route) => route.abort('connectionreset'));
  const page = await t.open(context);
  page.expected = refused;
  return { page, heal: () => context.unroute(`**/${name}`) };
}

const retry = (page, topic) => page.locator(`#messages [data-topic="${topic}"] button`).first().click();

export const faults = {
  async 'without a private file system it trains, and says that nothing is kept'(t) {
    const context = await t.context();
    await inWorker(context, () => {
      StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException('Security error', 'SecurityError'));
    });
    const page = await t.open(context);
    await ready(page);
    assert.match(await said(page, 'unkept'), /keeps nothing/);
    await prepare(page);
    await page.click('#start');
    await afterStep(page, 2);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    assert.doesNotMatch(await status(page), /kept in this browser|close the page/i, 'it says that it is kept, which it is not');
    await page.click('#start');
    await ready(page, 'Train again');
    assert.equal(Math.max(...(await steps(page)).keys()), 6);
    assert.deepEqual([...(await download(page, 'save-adapter')).keys()].sort().slice(-2),
      ['adapter/adapter_config.json', 'adapter/adapter_model.safetensors']);
    assert.deepEqual(await errors(page), []);
  },

  async 'without storage of any kind it trains'(t) {
    const page = await t.open(await t.context(() => {
      const refuse = () => { throw new DOMException('The operation is insecure.', 'SecurityError'); };
      Object.defineProperty(globalThis, 'localStorage', { get: refuse });
      IDBFactory.prototype.open = refuse;
      CacheStorage.prototype.open = CacheStorage.prototype.keys = CacheStorage.prototype.match = () => Promise.reject(new Error('refused'));
    }));
    await prepare(page);
    await page.click('#theme');
    await page.click('#start');
    await ready(page, 'Train again');
    assert.deepEqual(await errors(page), []);
  },

  async 'the engine that does not arrive is named, and fetched again'(t) {
    const { page, heal } = await without(t, 'engine.wasm');
    assert.match(await said(page, 'engine'), /engine\.wasm did not arrive/);
    const { start, status: says } = await look(page);
    assert.ok(!start?.on, 'Start is on');
    assert.doesNotMatch(says, /on its way/, 'it says that the engine is on its way');
    await heal();
    await retry(page, 'engine');
    await ready(page);
    assert.deepEqual(await errors(page), []);
  },

  async 'a file of the model that does not arrive is named, and fetched again'(t) {
    const { page, heal } = await without(t, 'demo/model/model.safetensors');
    assert.match(await said(page, 'model'), /demo\/model\/model\.safetensors did not arrive/);
    const { start, status: says } = await look(page);
    assert.ok(!start?.on && !/ready/i.test(says), says);
    await heal();
    await retry(page, 'model');
    await ready(page);
    assert.deepEqual(await errors(page), []);
  },

  async 'without the gallery it trains what the visitor brings, and the gallery is fetched again'(t) {
    const { page, heal } = await without(t, 'gallery/index.json');
    assert.match(await said(page, 'gallery'), /gallery\/index\.json did not arrive/);
    await until(page, 'it needs examples alone', () => /examples/i.test(document.getElementById('status').innerText));
    await page.setInputFiles('#file-data', 'internal/demo/heldout.jsonl');
    await ready(page);
    await heal();
    await retry(page, 'gallery');
    await until(page, 'the subjects are there', () => document.querySelectorAll('[id^=subject-]').length >= 4);
    assert.equal(await text(page, 'data-name'), 'heldout.jsonl');
    await page.locator('[id^=subject-]').nth(1).click();
    await ready(page);
    assert.deepEqual(await errors(page), []);
  },

  async 'examples of a subject that do not arrive are named, and fetched again'(t) {
    const { page, heal } = await without(t, 'gallery/butler.jsonl');
    await ready(page);
    const before = await text(page, 'data-name');
    await page.click('#subject-butler');
    assert.match(await said(page, 'data'), /gallery\/butler\.jsonl did not arrive/);
    assert.equal(await text(page, 'data-name'), before);
    assert.equal(await page.$eval('#subject-butler', (e) => e.getAttribute('aria-pressed')), 'false',
      'the subject is shown as chosen, but other examples are open');
    await heal();
    await retry(page, 'data');
    await until(page, 'they are open', () => document.getElementById('data-name').innerText === 'butler.jsonl');
    await ready(page);
    assert.deepEqual(await errors(page), []);
  },

  async 'a disk that is full while a checkpoint is saved is told, and training goes on when there is room'(t) {
    const page = await t.open();
    await prepare(page, { settings: { ...tiny, max_steps: 12 }, ask: '' });
    const full = async (on) => (await engine(page)).evaluate((on) => {
      self.write ??= FileSystemSyncAccessHandle.prototype.write;
      FileSystemSyncAccessHandle.prototype.write = on
        ? () => { throw new DOMException('The quota has been exceeded.', 'QuotaExceededError'); } : self.write;
    }, on);
    await page.click('#start');
    await until(page, 'step 4 is saved', () => globalThis.messages.some(({ checkpoint }) => checkpoint?.step === 4));
    await full(true);
    const why = await said(page, 'run', 'quota|full|space', 120e3);
    assert.match(why, /quota|full|space/i);
    await ready(page, 'Go on from step 4'); // the step that is there, and no later one
    assert.match(await status(page), /Paused after step 4 of 12/);
    await page.click('#start'); // which does not help yet
    await said(page, 'run', 'quota|full|space', 120e3);
    await ready(page, 'Go on from step 4');
    await full(false);
    await page.click('#start');
    await ready(page, 'Train again');
    assert.match(await status(page), /^Done/);
    assert.equal(Math.max(...(await steps(page)).keys()), 12);
    assert.deepEqual(await errors(page), []);
    await page.reload();
    await ready(page, 'Train again');
  },

  async 'a disk that is full from the start is told, and nothing seems to be kept'(t) {
    const page = await t.open();
    await prepare(page, { ask: '' });
    await (await engine(page)).evaluate(() => {
      FileSystemSyncAccessHandle.prototype.write = () => { throw new DOMException('The quota has been exceeded.', 'QuotaExceededError'); };
    });
    await page.click('#start');
    await said(page, 'run', 'quota|full|space', 120e3);
    await ready(page, 'Start');
    assert.equal(await page.$$eval('#runs > *', (list) => list.length), 0);
    assert.doesNotMatch(await status(page), /paused|kept/i);
    await sleep(500);
    await page.reload();
    await ready(page, 'Start');
    assert.equal(await page.$$eval('#runs > *', (list) => list.length), 0);
  },
};
