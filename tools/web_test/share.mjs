// Links to a subject and to what somebody shared.
import assert from 'node:assert/strict';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { sleep, until } from './browser.mjs';
import { afterStep, prepare, ready, said, text, tiny } from './page.mjs';

const rows = (page) => page.evaluate(() => [...document.querySelectorAll('#rows textarea')].map(({ value }) => value));
const pack = (value) => deflateRawSync(JSON.stringify(value)).toString('base64url');
const go = (page, hash) => page.evaluate((hash) => { location.hash = hash; }, hash);
const pressed = (page) => page.evaluate(() => document.querySelector('.subject[aria-pressed=true]')?.id);
const opened = (page, id) => until(page, `${id} is open`, (id) => document.querySelector('.subject[aria-pressed=true]')?.id === id, id);

const own = [['Wer bist du? <b>x</b>', 'Ein Räuber 🏴'], ['من أنت؟', 'قرصان']];

async function write(page, pairs) {
  await page.click('#subject-own');
  for (const [i, [question, answer]] of pairs.entries()) {
    if (i) await page.click('#row-add');
    await until(page, 'there is a row', (n) => document.querySelectorAll('#rows .row').length === n, i + 1);
    await page.fill('#rows .row:last-child textarea.question', question);
    await page.fill('#rows .row:last-child .answer-field', answer);
  }
  await ready(page);
}

async function linkOf(page) {
  await page.click('#copy-link');
  return until(page, 'there is a link', () => document.getElementById('link-text')?.value);
}

export const share = {
  async 'a link carries examples, questions and settings to another browser'(t) {
    const page = await t.open();
    await ready(page);
    await write(page, own);
    await page.fill('#max_steps', '12');
    const link = await linkOf(page);
    assert.ok(link.length < 1000, `${link.length} characters`);
    assert.deepEqual(JSON.parse(inflateRawSync(Buffer.from(link.split('#share=')[1], 'base64url'))).pairs, own);
    const other = await t.open();
    await ready(other);
    const before = [];
    other.on('request', (request) => before.push(request.url()));
    await go(other, link.slice(link.indexOf('#')));
    await said(other, 'link', /Opened from a link: 2 examples, 3 questions, 1 setting/);
    assert.deepEqual(await rows(other), own.flat());
    assert.equal(await other.inputValue('#max_steps'), '12');
    assert.ok(!other.url().includes('#'), other.url());
    assert.deepEqual(before.filter((url) => url.includes('share')), []);
    await ready(other);
    await sleep(600); // the draft is written
    await other.reload(); // what was made of it stays
    await ready(other);
    assert.deepEqual(await rows(other), own.flat());
  },

  async 'examples that are too large are left out of the link, which says so'(t) {
    const page = await t.open();
    await ready(page);
    const noise = Array.from({ length: 900 }, (_, i) => Math.sin(i).toString(36).slice(3)).join(' ');
    await write(page, [['What?', noise]]);
    const link = await linkOf(page);
    assert.ok(link.length < 8000);
    assert.match(await text(page, 'link-says'), /too large for a link/);
    await page.evaluate(() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); });
    await page.fill('#max_steps', '13');
    await linkOf(page);
    await until(page, 'the link is there to be copied by hand', () => /copy it here/.test(document.getElementById('link-says').innerText) &&
      getSelection().toString() === document.getElementById('link-text').value);
  },

  async 'a link is not trusted'(t) {
    const page = await t.open();
    await ready(page);
    const steps = await page.inputValue('#max_steps');
    await go(page, `#share=${pack({ set: 'own', settings: { max_steps: '1e9', lora_r: '-1', output_dir: '/etc', batch_size: 4,
      seed: '7', gradient_checkpointing: 'none' }, questions: ['<img src=x onerror=alert(1)>', 5, null],
    pairs: [['<script>alert(1)</script>', '"'], ['one'], 'x', [1, 2]], model: '../../evil', text: 7 })}`);
    await said(page, 'link', /1 example, 1 question, 1 setting; 5 of its settings are out of their limits/);
    assert.equal(await page.inputValue('#max_steps'), steps);
    assert.equal(await page.inputValue('#seed'), '7');
    assert.deepEqual(await rows(page), ['<script>alert(1)</script>', '"']);
    await ready(page);
    for (const bad of ['xyz', '%', pack([1]), pack(null), deflateRawSync(Buffer.alloc(8 << 20)).toString('base64url')]) {
      await go(page, `#share=${bad}`);
      await said(page, 'link', /This link cannot be read/);
      assert.deepEqual(await rows(page), ['<script>alert(1)</script>', '"']);
      await page.evaluate(() => { location.hash = ''; });
    }
  },

  async 'an address opens a subject, over a draft that can be brought back'(t) {
    const context = await t.context(), page = await t.open(context);
    await ready(page);
    await write(page, own);
    await go(page, '#set=butler');
    await opened(page, 'subject-butler');
    await ready(page);
    assert.match(await text(page, 'data-name'), /butler/);
    await page.click('#messages >> text=Back to what was here');
    await until(page, 'the rows are back', () => document.querySelectorAll('#rows .row').length === 2);
    assert.deepEqual(await rows(page), own.flat());
    await go(page, '#set=nothing-such');
    await said(page, 'link', /names a subject that is not here/);
    await sleep(600);
    await page.close();
    const next = await t.open(context);
    await next.goto(`${t.address}/#set=spanish`);
    await next.reload();
    await opened(next, 'subject-spanish');
    await ready(next);
    assert.match(await text(next, 'data-name'), /spanish/);
  },

  async 'a link waits for a run'(t) {
    const page = await t.open();
    await ready(page);
    await prepare(page, { settings: { ...tiny, max_steps: 60 }, ask: '' });
    await page.click('#start');
    await afterStep(page, 1);
    const before = await pressed(page);
    await go(page, '#set=butler');
    await said(page, 'link', /A link waits/);
    await page.click('#messages >> text=Open it'); // not while it runs
    await page.click('#pause');
    await ready(page, 'Go on from step');
    assert.equal(await pressed(page), before);
    await page.click('#messages >> text=Open it');
    await opened(page, 'subject-butler');
    await ready(page);
    assert.match(await text(page, 'runs'), /step \d+ of 60/); // nothing is lost
  },
};
