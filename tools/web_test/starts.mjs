// Start: when it can be pressed, and what is then trained.
import assert from 'node:assert/strict';
import { sleep, until } from './browser.mjs';
import { clear, errors, few, look, modelFiles, prepare, question, ready, sent, set, status, steps, tiny } from './page.mjs';

// shown are the settings that the fields show.
const shown = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('#settings input, #settings select')]
  .filter(({ id }) => id !== 'Memory').map(({ id, value }) => [id, value])));

// trained compares the settings, the questions and the examples that the last run was begun with with what is shown.
async function trained(page, lines) {
  const [train] = (await sent(page, 'train')).slice(-1), all = await page.evaluate(() => globalThis.sent);
  const fields = await shown(page);
  assert.ok(Object.keys(fields).length >= 10, `fewer fields than expected: ${Object.keys(fields)}`);
  for (const [key, text] of Object.entries(fields)) assert.equal(String(train.args.Settings[key]), text, key);
  const before = all.slice(0, all.findIndex(({ id }) => id === train.id));
  const data = before.findLast(({ op }) => op === 'data');
  const pairs = data.args.Text.trim().split('\n').map((line) => JSON.parse(line).messages.map(({ content }) => content));
  assert.deepEqual(pairs, lines);
  return { train, data, model: before.findLast(({ op }) => op === 'model') };
}

const rowsShown = (page) => page.evaluate(() => [...document.querySelectorAll('#rows .row, #rows tr')]
  .map((row) => [...row.querySelectorAll('textarea')].map(({ value }) => value)));

export const starts = {
  async 'a double click on Start trains'(t) {
    const page = await t.open();
    await prepare(page, { settings: tiny });
    for (const clicks of [2, 3]) {
      await clear(page);
      await page.locator('#start').scrollIntoViewIfNeeded();
      const { x, y, width, height } = await page.locator('#start').boundingBox();
      await page.mouse.move(x + width / 2, y + height / 2);
      for (let i = 1; i <= clicks; i++) {
        await page.mouse.down({ clickCount: i });
        await page.mouse.up({ clickCount: i });
        await sleep(90);
      }
      await ready(page, 'Train again');
      assert.equal((await look(page)).trains, 1);
      assert.equal((await steps(page)).size, 6);
      assert.match(await status(page), /^Done/);
    }
  },

  async 'what is shown is what is trained, however soon Start is pressed'(t) {
    const page = await t.open();
    await prepare(page, { settings: tiny });
    await page.press('#tab-table', 'Enter'); // what comes above it may move it from under a mouse
    await page.click('#row-add'); // the last page
    const rows = (await rowsShown(page)).length;
    const fields = page.locator('#rows textarea');
    await fields.nth(2 * rows - 2).fill('Who are you, my friend?');
    await fields.nth(2 * rows - 1).fill('A cat.');
    await set(page, { learning_rate: 0.003, lora_r: 4, seed: 11 });
    await page.locator('#answers textarea').first().fill('Who is it?');
    await page.click('#start'); // before any of it can have reached the engine
    await ready(page, 'Train again');
    const lines = few.trim().split('\n').map((line) => JSON.parse(line).messages.map(({ content }) => content));
    const { train } = await trained(page, [...lines, ['Who are you, my friend?', 'A cat.']]);
    assert.deepEqual(train.args.Prompts, ['Who is it?']);
    assert.equal(train.args.Settings.learning_rate, 0.003);
  },

  async 'Start is off while a model is opened, and another kind of model brings its own settings'(t) {
    const page = await t.open();
    await prepare(page, { settings: tiny });
    const before = await shown(page);
    const hub = 'https://huggingface.co', headers = { 'access-control-allow-origin': '*' };
    let come;
    const weights = new Promise((resolve) => { come = resolve; });
    page.foreign = hub; // which answers here, and nothing leaves
    await page.route(`${hub}/**`, async (route) => {
      const url = new URL(route.request().url()), files = await modelFiles();
      if (url.pathname.startsWith('/api/')) return route.fulfill({ headers,
        json: { sha: 'abc', siblings: files.map(({ name, buffer }) => ({ rfilename: name, size: buffer.length })) } });
      const file = files.find(({ name }) => url.pathname.endsWith(`/${name}`));
      if (file?.name === 'model.safetensors') await weights;
      return route.fulfill(file ? { headers, body: file.buffer } : { status: 404, headers });
    });
    await page.fill('#hub-id', 'some/storyteller');
    await page.click('#hub-go');
    await until(page, 'Start is off', () => document.getElementById('start').disabled);
    await page.evaluate(() => document.getElementById('start').click());
    assert.match(await status(page), /fetching|opening|download/i);
    assert.equal((await look(page)).trains, 0);
    await set(page, { seed: 7 });
    come();
    await until(page, 'the model is open', () => document.getElementById('model-name').textContent === 'some/storyteller');
    await ready(page);
    const after = await shown(page);
    assert.notEqual(after.learning_rate, before.learning_rate, 'the storyteller\'s learning rate stayed');
    assert.equal(after.seed, '7', 'what was typed while the model was opened is lost');
    await set(page, tiny);
    await page.click('#start');
    await ready(page, 'Train again');
    const lines = few.trim().split('\n').map((line) => JSON.parse(line).messages.map(({ content }) => content));
    const { model } = await trained(page, lines);
    assert.equal(model.args.Demo, false);
    assert.deepEqual(await errors(page), []);
  },

  async 'Start pressed while files are read waits for what is shown'(t) {
    const page = await t.open();
    await prepare(page, { settings: tiny });
    const other = few.trim().split('\n').slice(0, 3).join('\n').replaceAll('?', '? Say it.');
    await clear(page);
    await page.evaluate((other) => { // in one turn: on a quick machine the file is there a moment later
      const field = document.getElementById('file-data'), files = new DataTransfer();
      files.items.add(new File([other], 'other.jsonl', { type: 'application/json' }));
      field.files = files.files;
      field.dispatchEvent(new Event('change'));
      document.getElementById('start').click();
    }, other);
    assert.equal((await look(page)).trains, 0, 'it began before the file was read');
    await until(page, 'the file is open', () => document.getElementById('data-name').innerText === 'other.jsonl');
    await ready(page);
    await page.click('#start');
    await ready(page, 'Train again');
    const requests = await page.evaluate(() => globalThis.sent.filter(({ op }) => op === 'data' || op === 'train'));
    assert.deepEqual(requests.map(({ op, files }) => [op, ...files ?? []]), [['data', 'other.jsonl'], ['train']]);
    assert.match(await page.$eval('#runs [aria-current]', (e) => e.innerText), /other/);
  },
};
