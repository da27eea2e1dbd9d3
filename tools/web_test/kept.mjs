// Models of the hub that the browser keeps. The hub is played here: nothing leaves.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { refused, sleep, until } from './browser.mjs';
import { afterStep, prepare, ready, said, text, tiny } from './page.mjs';

const address = 'https://huggingface.co', id = 'some/storyteller', sha = 'abcdef0123';
const headers = { 'access-control-allow-origin': '*', 'access-control-allow-headers': 'range' };
const names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json', 'model.safetensors'];
const files = new Map(await Promise.all(names.map(async (name) => [name, await readFile(`internal/demo/model/${name}`)])));

// play answers as the hub would: the weights in parts of a third, as if the connection broke off, and after the first
// only for who asks for the rest. It gives what is asked for, and how many files at once.
async function play(page) {
  const seen = { asked: [], ranges: [], most: 0, off: false, deaf: false };
  let now = 0;
  page.foreign = address;
  page.expected = refused;
  await page.route(`${address}/**`, async (route) => {
    const request = route.request(), url = request.url();
    if (seen.off) return route.abort('internetdisconnected');
    seen.asked.push(url.slice(address.length));
    if (url.includes('/api/')) return route.fulfill({ headers,
      json: { sha, siblings: names.map((name) => ({ rfilename: name, size: files.get(name).length })) } });
    const body = files.get(url.split('/').at(-1));
    seen.most = Math.max(seen.most, ++now);
    await sleep(200);
    now--;
    const range = /bytes=(\d+)-/.exec((await request.allHeaders()).range ?? '');
    const from = range ? Number(range[1]) : 0;
    if (range) seen.ranges.push(from);
    if (seen.deaf && range) return route.fulfill({ headers, body }); // a server that knows no ranges
    const part = body.length > 1e6 ? body.subarray(from, from + Math.ceil(body.length / 3)) : body;
    return route.fulfill({ status: range ? 206 : 200, headers, body: part });
  });
  return seen;
}

async function fetchIt(page, name = id) {
  await page.fill('#hub-id', name);
  await page.click('#hub-go');
  await until(page, 'the model of the hub is open', (id) => document.getElementById('model-name').textContent === id, id);
  await ready(page, '');
}

const listed = (page) => text(page, 'hub-kept');

export const kept = {
  async 'every address of a model page is taken'(t) {
    const page = await t.open();
    const found = await page.evaluate(async () => {
      const { parse } = await import('./hub.js');
      return Object.fromEntries(['o/n', '  o/n ', 'o/n@v1', 'https://huggingface.co/o/n', 'http://www.huggingface.co/o/n/',
        'huggingface.co/o/n', 'https://hf.co/o/n', 'https://huggingface.co/o/n/tree/main',
        'https://huggingface.co/o/n/blob/dev/config.json?x=1#L3',
        'https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/model.safetensors', 'https://huggingface.co/o/n/discussions/3',
        'n', 'https://huggingface.co/datasets/o/n', 'https://example.com/o/n', 'o/n/x', '../../x', 'o/..', ''].map((text) => {
        const { id, revision } = parse(text) ?? {};
        return [text, id && `${id}@${revision}`];
      }).filter(([, found]) => found));
    });
    const main = 'o/n@main';
    assert.deepEqual(found, { 'o/n': main, '  o/n ': main, 'o/n@v1': 'o/n@v1', 'https://huggingface.co/o/n': main,
      'http://www.huggingface.co/o/n/': main, 'huggingface.co/o/n': main, 'https://hf.co/o/n': main,
      'https://huggingface.co/o/n/tree/main': main, 'https://huggingface.co/o/n/blob/dev/config.json?x=1#L3': 'o/n@dev',
      'https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/model.safetensors': 'o/n@refs/pr/1',
      'https://huggingface.co/o/n/discussions/3': main });
  },

  async 'a model of the hub is kept, and opens without the network'(t) {
    const page = await t.open();
    const seen = await play(page);
    await ready(page);
    await fetchIt(page, `${address}/${id}/tree/main`);
    assert.equal(seen.most, 4); // files at once
    const size = files.get('model.safetensors').length, third = Math.ceil(size / 3);
    assert.deepEqual(seen.ranges, [third, 2 * third]); // on from where it broke off
    assert.match(await listed(page), /some\/storyteller[^]*MiB, abcdef0/);
    seen.off = true;
    await sleep(600); // the draft is written
    await page.reload();
    await ready(page);
    await until(page, 'the same model is open again', (id) => document.getElementById('model-name').textContent === id, id);
    await page.click('#embedded-model');
    await until(page, 'the embedded one is open', () => /embedded/.test(document.getElementById('model-name').textContent));
    await ready(page);
    await fetchIt(page); // by its name
    await page.click('#embedded-model');
    await ready(page);
    await page.click('#hub-kept >> text=Clear');
    await until(page, 'nothing is kept', () => !document.getElementById('hub-kept') && document.activeElement.id === 'hub-id');
    await page.fill('#hub-id', id);
    await page.click('#hub-go');
    await said(page, 'model', /cannot be reached/);
    assert.match(await text(page, 'model-name'), /embedded/); // what was open stays
    await ready(page);
  },

  async 'a server without ranges sends the whole again'(t) {
    const page = await t.open();
    const seen = await play(page);
    seen.deaf = true;
    await ready(page);
    await fetchIt(page);
    assert.deepEqual(seen.ranges, [Math.ceil(files.get('model.safetensors').length / 3)]);
  },

  async 'a browser without room goes on without keeping'(t) {
    const page = await t.open(await t.context(() => {
      if (globalThis.Cache) Cache.prototype.put = () => Promise.reject(new DOMException('Quota exceeded.', 'QuotaExceededError'));
    }));
    await play(page);
    await ready(page);
    await fetchIt(page);
    await said(page, 'hub', /does not keep some\/storyteller \(it has no room left/);
    assert.equal(await listed(page), '');
    assert.match(await text(page, 'status'), /^Ready/);
  },

  async 'a run of a model of the hub goes on with it, or fetches it again'(t) {
    const page = await t.open();
    const seen = await play(page);
    await ready(page);
    await fetchIt(page);
    await prepare(page, { settings: { ...tiny, max_steps: 60 }, ask: '' });
    await page.click('#start');
    await afterStep(page, 2);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    await sleep(600); // the draft is written
    seen.off = true;
    await page.reload();
    await ready(page, 'Go on from step'); // from what is kept
    assert.equal(await text(page, 'model-name'), id);
    await page.evaluate(async () => { for (const name of await caches.keys()) await caches.delete(name); });
    seen.off = false;
    seen.asked.length = 0;
    await page.reload();
    await said(page, 'model', /no longer kept/);
    assert.deepEqual(seen.asked, []); // nothing is fetched without a click
    await page.click('#messages button:has-text("Fetch it again")');
    await ready(page, 'Go on from step');
    assert.match(seen.asked[0], new RegExp(`/revision/${sha}`)); // the very weights
  },
};
