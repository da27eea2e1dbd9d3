// What a visitor writes and has trained: nothing of it is lost.
import assert from 'node:assert/strict';
import { inFirefox, sleep, until } from './browser.mjs';
import { afterStep, errors, look, prepare, ready, said, set, status, tiny } from './page.mjs';

const typed = (page) => page.evaluate(() => ({ value: document.activeElement.value, at: document.activeElement.selectionStart,
  tag: document.activeElement.tagName }));

const lastQuestion = (page) => page.locator('#rows textarea').nth(-2);

// shown is what a draft has to bring back.
const shown = (page) => page.evaluate(() => ({
  rows: document.getElementById('data-facts').innerText.match(/^[\d,]+ rows?/)?.[0],
  table: [...document.querySelectorAll('#rows textarea')].map(({ value }) => value),
  questions: [...document.querySelectorAll('#answers textarea')].map(({ value }) => value),
  settings: [...document.querySelectorAll('#settings input, #settings select')].map(({ id, value }) => [id, value]) }));

// written makes a draft of the page: examples, settings and questions.
async function written(page) {
  await prepare(page, { settings: { ...tiny, learning_rate: 0.0042, seed: 12 }, ask: 'Who are you?' });
  await page.click('#tab-table');
  await page.locator('#rows textarea').nth(1).fill('An answer of my own.');
  await until(page, 'it is written down', () => document.getElementById('data-facts').innerText.includes('edited'));
  await ready(page);
  await sleep(1000); // the draft is written a moment after the last key
  const draft = await shown(page);
  assert.ok(draft.table.includes('An answer of my own.') && draft.questions.includes('Who are you?'), JSON.stringify(draft));
  return draft;
}

async function same(page, draft) {
  await ready(page);
  await until(page, 'the draft is there', (value) => [...document.querySelectorAll('#rows textarea')].some((e) => e.value === value),
    'An answer of my own.', 20e3);
  assert.deepEqual(await shown(page), draft);
  assert.deepEqual(await errors(page), []);
}

export const drafts = {
  async 'typing in the table keeps focus and caret'(t) {
    const page = await t.open();
    await prepare(page);
    await page.click('#tab-table');
    await page.click('#row-add');
    await until(page, 'the new row has the focus', () => document.activeElement.tagName === 'TEXTAREA');
    await page.keyboard.type('Who are you');
    await sleep(3000); // the engine reads it meanwhile
    await page.keyboard.type(', my friend?');
    assert.deepEqual(await typed(page), { value: 'Who are you, my friend?', at: 23, tag: 'TEXTAREA' });
    for (let i = 0; i < 11; i++) await page.keyboard.press('ArrowLeft');
    await page.keyboard.type(' dear');
    await sleep(3000);
    await page.keyboard.type('est');
    assert.deepEqual(await typed(page), { value: 'Who are you, dearest my friend?', at: 20, tag: 'TEXTAREA' });
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await page.keyboard.type('I am.');
    await sleep(3000);
    assert.equal((await typed(page)).value, 'I am.');
    assert.equal(await lastQuestion(page).inputValue(), 'Who are you, dearest my friend?');
    await ready(page);
  },

  async 'what is written survives a reload'(t) {
    const page = await t.open(), draft = await written(page);
    await page.reload();
    await same(page, draft);
    await page.click('#start');
    await ready(page, 'Train again');
    const [train] = await page.evaluate(() => globalThis.sent.filter(({ op }) => op === 'train'));
    assert.deepEqual([train.args.Settings.learning_rate, train.args.Prompts], [0.0042, ['Who are you?']]);
  },

  async 'what is changed beside a run that is done survives a reload, with the run'(t) {
    const page = await t.open();
    await prepare(page);
    await page.click('#start');
    await ready(page, 'Train again');
    await set(page, { learning_rate: 0.0042, Memory: 3 });
    await page.click('#tab-table');
    await page.locator('#answers textarea').first().fill('Who are you?');
    await sleep(1000);
    const draft = await shown(page);
    await page.reload();
    await ready(page, 'Train again');
    await until(page, 'the settings are there', () => document.getElementById('learning_rate').value === '0.0042', null, 20e3);
    assert.deepEqual(await shown(page), draft);
    assert.match(await status(page), /^Done/);
  },

  async 'what is written survives a tab that is closed or crashes'(t) {
    const context = await t.context(), first = await t.open(context), draft = await written(first);
    await first.close({ runBeforeUnload: false });
    const second = await t.open(context);
    await same(second, draft);
    if (inFirefox) return; // which no address makes crash
    const crashed = second.waitForEvent('crash');
    await second.goto('chrome://crash').catch(() => {});
    await crashed;
    const third = await t.open(context);
    await second.close();
    await same(third, draft);
  },

  async 'the browser asks before a training page is left, and only then'(t) {
    const page = await t.open(), asked = [];
    page.on('dialog', async (dialog) => {
      asked.push(dialog.type());
      await dialog.dismiss();
    });
    await prepare(page, { settings: { ...tiny, max_steps: 200 }, ask: '' });
    await page.click('#start');
    await afterStep(page, 1);
    await page.close({ runBeforeUnload: true });
    await until(page, 'it goes on', () => document.getElementById('pause') !== null);
    for (let i = 0; i < 100 && !asked.length; i++) await sleep(100);
    assert.deepEqual(asked, ['beforeunload']);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    await page.reload();
    await ready(page, 'Go on from step');
    assert.deepEqual(asked, ['beforeunload'], 'it asks although nothing is under way');
  },

  async 'what is changed beside a paused run leaves the run in the list'(t) {
    const page = await t.open();
    await prepare(page, { settings: { ...tiny, max_steps: 40 }, ask: '' });
    await page.click('#start');
    await afterStep(page, 2);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    const { told } = await look(page), paused = `Paused after step ${told} of 40`;
    assert.match(await status(page), new RegExp(paused));
    const changes = {
      'another row': async () => { await page.click('#tab-table'); await page.locator('#rows textarea').nth(1).fill('Something else.'); },
      'another subject': () => page.locator('[id^=subject-]').nth(1).click(),
      'another file': () => page.setInputFiles('#file-data', 'internal/demo/heldout.jsonl'),
      'a new run': () => page.click('#fresh'),
    };
    for (const [what, change] of Object.entries(changes)) {
      await change();
      await ready(page, 'Start');
      assert.equal(await page.$$eval('#runs > *', (list) => list.length), 1, `${what}: the run is gone`);
      assert.match(await said(page, 'run'), new RegExp(`stopped after step ${told}`), what);
      await page.click('#messages [data-topic="run"] button');
      await ready(page, `Go on from step ${told}`);
      assert.match(await status(page), new RegExp(paused), what);
    }
    await page.click('#start');
    await afterStep(page, told + 1);
    await page.click('#stop');
    await ready(page, 'Train again');
    assert.deepEqual(await errors(page), []);
  },

  async 'a setting that no run could use is named with its limits at its field'(t) {
    const page = await t.open();
    await prepare(page);
    for (const [key, value] of [['lora_r', ''], ['lora_r', '0'], ['lora_r', '2.5'], ['max_steps', '-3'], ['learning_rate', ''],
      ['learning_rate', '7'], ['max_seq_length', '100000'], ['batch_size', '1e9']]) {
      const good = await page.inputValue(`#${key}`);
      await set(page, { [key]: value });
      await until(page, `${key}: ${value} is refused`, (key) => document.getElementById(key).getAttribute('aria-invalid') === 'true', key);
      const hint = await page.$eval(`#${key}`, (field) => field.getAttribute('aria-describedby').split(' ')
        .map((id) => document.getElementById(id).innerText).join(' '));
      assert.match(hint, /from [\d.,]+ to [\d.,]+/, `${key}: ${value}`);
      const { start, status: says } = await look(page);
      assert.ok(start && !start.on, `${key}: ${value} can be started`);
      assert.match(says, /setting|limits/i);
      await set(page, { [key]: good });
      await ready(page);
    }
  },
};
