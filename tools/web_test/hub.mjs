// Models of the Hugging Face hub, which is played here: nothing leaves.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { refused, until } from './browser.mjs';
import { errors, modelNames, ready, said, text } from './page.mjs';

const address = 'https://huggingface.co';
const headers = { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'x-error-code' };

// play answers as the hub would, and gives what is asked for.
async function play(page, offline) {
  const asked = [];
  page.foreign = address;
  page.expected = refused;
  await page.route(`${address}/**`, async (route) => {
    const url = route.request().url();
    asked.push(url);
    const [, id] = /models\/([^?]+)/.exec(url) ?? [];
    if (offline.has(id)) return route.abort('internetdisconnected');
    if (id === 'some/gated') return route.fulfill({ status: 401, headers: { ...headers, 'x-error-code': 'GatedRepo' } });
    if (id === 'some/gguf') return route.fulfill({ headers, json: { sha: 'b', siblings: [{ rfilename: 'model.gguf', size: 9 }] } });
    const sizes = await Promise.all(
      modelNames.map(async (name) => ({ rfilename: name, size: (await readFile(`internal/demo/model/${name}`)).length })));
    if (id === 'some/storyteller') return route.fulfill({ headers,
      json: { sha: 'abc', siblings: [...sizes, { rfilename: 'README.md', size: 3 }, { rfilename: 'onnx/model.onnx', size: 9e9 }] } });
    const [, name] = /some\/storyteller\/resolve\/abc\/(.*)/.exec(url) ?? [];
    if (modelNames.includes(name)) return route.fulfill({ headers, body: await readFile(`internal/demo/model/${name}`) });
    return route.fulfill({ status: 404, headers });
  });
  return asked;
}

export const hub = {
  async 'a model of the hub is fetched where the visitor asks for it'(t) {
    const page = await t.open(), offline = new Set(['some/offline']);
    await ready(page);
    const asked = await play(page, offline);
    for (const [id, message] of [['storyteller', /named by its owner/], ['some/gated', /gated/],
      ['some/nothing', /no public model some\/nothing/], ['some/gguf', /no model in safetensors/], ['some/offline', /cannot be reached/]]) {
      await page.fill('#hub-id', id);
      await page.click('#hub-go');
      await said(page, 'model', message);
      await ready(page); // with what was open
    }
    assert.match(await text(page, 'model-name'), /storyteller, embedded/);
    offline.clear();
    await page.fill('#hub-id', `${address}/some/storyteller`);
    asked.length = 0;
    await page.click('#hub-go');
    await until(page, 'the model is open', () => document.getElementById('model-name').textContent === 'some/storyteller');
    await ready(page);
    assert.deepEqual(await errors(page), []);
    assert.deepEqual(asked.map((url) => url.split('/').at(-1)).sort(), ['storyteller?blobs=true', ...modelNames].sort());
    await page.click('#embedded-model');
    await until(page, 'the embedded one is open', () => /embedded/.test(document.getElementById('model-name').textContent));
    await ready(page);
  },
};
