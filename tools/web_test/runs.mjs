// The list of runs.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { sleep, until } from './browser.mjs';
import { afterStep, errors, few, file, look, prepare, question, ready, said, set, status, steps, text, tiny } from './page.mjs';
import { download } from './program.mjs';

const list = (page) => page.$$eval('#runs > *', (entries) => entries.map((entry) => entry.innerText.replace(/\s+/g, ' ')));
const press = (page, at, name) => page.locator('#runs > *').nth(at).getByRole('button', { name }).click();
const length = (page, n) => until(page, `${n} runs are listed`, (n) => document.querySelectorAll('#runs > *').length === n, n);

// stored are the files that the page keeps in this browser's private file system.
const stored = (page) => page.evaluate(async () => {
  const names = [];
  const walk = async (dir, path) => {
    for await (const each of dir.values()) {
      if (each.kind === 'file') names.push(path + each.name);
      else await walk(each, `${path}${each.name}/`);
    }
  };
  await walk(await navigator.storage.getDirectory(), '');
  return names;
});

// two trains one run to its end, and pauses another.
async function two(page, ask = '') {
  await prepare(page, { ask });
  await page.click('#start');
  await ready(page, 'Train again');
  const whole = await steps(page);
  await set(page, { max_steps: 40, lora_r: 4 });
  await ready(page, 'Train again');
  await page.evaluate(() => { globalThis.messages.length = 0; });
  await page.click('#start');
  await afterStep(page, 2);
  await page.click('#pause');
  await ready(page, 'Go on from step');
  const { told } = await look(page);
  const [paused, done] = await list(page);
  assert.match(paused, new RegExp(`step ${told} of 40`));
  assert.match(done, /step 6 of 6/);
  for (const entry of [paused, done]) assert.match(entry, /20\d\d.*loss \d/, 'no date or no loss');
  return { whole, told };
}

export const runs = {
  async 'runs are opened and gone on with from the list, also after a reload'(t) {
    const page = await t.open();
    const { told } = await two(page, question);
    await press(page, 1, /^open/i);
    await ready(page, 'Train again');
    assert.match(await status(page), /^Done: 6 steps/);
    assert.equal(await page.inputValue('#max_steps'), '6');
    assert.match(await text(page, 'chart-text'), /at step 6/);
    assert.ok(await page.$$eval('#answers .after', (answers) => answers.length) > 0, 'its answers are not shown');
    await sleep(1000); // the draft, which tells what was open, is written a moment later
    await page.reload();
    await ready(page, 'Train again');
    assert.match(await status(page), /^Done: 6 steps/);
    await press(page, 0, /^go on/i);
    await ready(page, `Go on from step ${told}`);
    assert.equal(await page.inputValue('#lora_r'), '4');
    await page.click('#start');
    await afterStep(page, told + 1);
    assert.equal(Math.min(...(await steps(page)).keys()), told + 1);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    await length(page, 2);
    assert.deepEqual(await errors(page), []);
  },

  async 'a run is deleted after a question, and no other'(t) {
    const page = await t.open();
    await two(page);
    await press(page, 1, /^delete/i);
    await press(page, 1, /^keep/i);
    await length(page, 2);
    await press(page, 1, /^delete/i);
    await press(page, 1, /^really/i);
    await length(page, 1);
    assert.match((await list(page))[0], /of 40/);
    await ready(page, 'Go on from step');
    await press(page, 0, /^delete/i); // the one that is shown
    await press(page, 0, /^really/i);
    await length(page, 0);
    await ready(page, 'Start');
    assert.deepEqual((await stored(page)).filter((name) => name.startsWith('runs/')), []);
    assert.deepEqual(await errors(page), []);
  },

  async 'everything is forgotten after a question'(t) {
    const page = await t.open();
    await two(page);
    await page.click('#theme');
    assert.ok((await stored(page)).length > 0);
    await page.click('#forget-all');
    await length(page, 2); // nothing yet
    await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: /^really/i }).click()]);
    await ready(page, 'Start');
    await length(page, 0);
    assert.match(await text(page, 'data-facts'), /320 rows/);
    assert.notEqual(await page.inputValue('#lora_r'), '4');
    assert.deepEqual((await stored(page)).filter((name) => name.startsWith('run')), []);
    assert.equal(await page.evaluate(() => localStorage.getItem('theme')), null);
  },

  async 'a page whose run is gone opens with something to train'(t) {
    const page = await t.open();
    await two(page);
    await sleep(1000);
    await page.evaluate(async () => (await navigator.storage.getDirectory()).removeEntry('runs', { recursive: true }));
    await page.reload();
    await ready(page, 'Start');
    assert.deepEqual(await errors(page), []);
    await page.click('#start');
    await afterStep(page, 1);
    await page.click('#stop');
    await ready(page, 'Train again');
  },

  async 'a checkpoint comes back with its examples, and without them offers the way to them'(t) {
    const page = await t.open();
    const { told } = await two(page);
    const members = await download(page, 'save-checkpoint', t.path('checkpoint.zip'));
    await page.click('#forget-all');
    await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name: /^really/i }).click()]);
    await ready(page, 'Start');
    const zip = await readFile(t.path('checkpoint.zip'));
    await page.setInputFiles('#file-checkpoint', file('checkpoint.zip', zip));
    await ready(page, `Go on from step ${told}`);
    assert.match(await text(page, 'data-facts'), /^6 rows/);
    assert.deepEqual(await errors(page), []);
    const alone = [...members].filter(([name]) => name.startsWith('run/')).map(([name, data]) => file(name.split('/').at(-1), data));
    await page.setInputFiles('#file-checkpoint', alone);
    assert.match(await said(page, 'data'), /trained on pasted/);
    await page.setInputFiles('#file-data', file('pasted.jsonl', few));
    await ready(page, `Go on from step ${told}`); // the run has what it needs, and is still there
    assert.deepEqual(await errors(page), []);
  },
};
