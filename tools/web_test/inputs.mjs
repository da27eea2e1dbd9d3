// What the user brings: wrong files, a model of their own, too little memory.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { until } from './browser.mjs';
import { afterStep, examples, paste, ready, set, small, text } from './page.mjs';

const file = (name, data) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(data) });

export const inputs = {
  async 'wrong files get an error in the page'(t) {
    if (t.page) { // what was stopped can still go on, or make place
      await t.page.reload();
      await ready(t.page, 'Go on from step');
      await t.page.click('#fresh');
    } else {
      t.page = await t.open();
    }
    const { page } = t;
    await ready(page, 'Start');
    const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
    const refused = async (input, files, place, message) => {
      await page.setInputFiles(input, files);
      const said = await until(page, `${place} says something`, (id) => !document.getElementById(id).hidden &&
        document.getElementById(id).innerText, place, 20e3);
      assert.match(said, message);
    };
    await refused('#file-model', [file('picture.gguf', png)], 'model-error', /open model|read gguf|GGUF/i);
    await refused('#file-model', [file('notes.json', '{}')], 'model-error', /neither a GGUF file nor the files of a Hugging Face folder/);
    await refused('#file-model', [file('config.json', '{"architectures":["GPT2LMHeadModel"]}')], 'model-error', /config\.json|model/);
    assert.equal(await text(page, 'model-name'), 'A tiny storyteller, embedded');
    await refused('#file-data', [file('bad.jsonl',
      '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n{"messages":')], 'data-error', /line 2/);
    await refused('#file-data', [file('questions.jsonl', '{"messages":[{"role":"user","content":"Who?"}]}')], 'data-error',
      /no supervised token/);
    assert.equal(await page.isDisabled('#start'), true);
    await refused('#file-checkpoint', [file('x.zip', 'PK nothing')], 'files-error', /zip/);
    await refused('#file-checkpoint', [file('manifest.json', '{}'), file('state.json', '{}')], 'files-error', /manifest/);
    await page.click('#data-reset');
    await ready(page, 'Start');
    await set(page, { lora_r: 0 });
    await until(page, 'the rank is refused', () => document.getElementById('start').disabled);
    await set(page, { lora_r: 200 }); // larger than the model's layers, which the plan finds
    await until(page, 'the plan refuses the rank', () => /lora_r is 200/.test(document.getElementById('plan-error').innerText) &&
      document.getElementById('start').disabled);
  },

  async 'a run that does not fit the memory is refused before it is loaded'(t) {
    const page = t.page ??= await t.open();
    await page.reload();
    await ready(page, 'Start');
    await set(page, { batch_size: 64, Memory: 0.02 });
    const said = await until(page, 'it is refused', () => document.getElementById('start').disabled &&
      document.querySelector('#plan-error .buttons button') && document.getElementById('plan-error').innerText);
    assert.match(said, /This run needs [0-9.]+ MiB of memory; it may take 20\.5 MiB/);
    assert.deepEqual(await t.accessible(page), []);
    await page.screenshot({ path: t.path('memory.png'), fullPage: true });
    const [way] = await page.$$('#plan-error .buttons button >> text=Batch');
    await way.click();
    await ready(page, 'Start');
    const batch = Number(await page.inputValue('#batch_size'));
    assert.ok(batch >= 1 && batch < 64, `a batch of ${batch}`);
    assert.match(await text(page, 'stat-memory'), /about [0-9.]+ MiB of 20\.5 MiB/);
    // A browser that tells of a small computer says it for the user.
    const other = await t.browser.newContext();
    await other.addInitScript(() => Object.defineProperty(navigator, 'deviceMemory', { value: 4 }));
    const tight = await t.open(other);
    await ready(tight, 'Start');
    assert.equal(await tight.inputValue('#Memory'), '4');
    assert.deepEqual(tight.seen, []);
    await other.close();
  },

  async 'a model of the hub is fetched where the user asks for it'(t) {
    const page = t.page ??= await t.open();
    await page.reload();
    await ready(page, 'Start');
    const hub = 'https://huggingface.co', asked = [],
      names = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors'];
    const headers = { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'x-error-code' };
    const offline = new Set();
    page.foreign = hub; // which answers here, and nothing leaves
    await page.route(`${hub}/**`, async (route) => {
      const url = route.request().url();
      asked.push(url);
      const [, id] = /models\/([^?]+)/.exec(url) ?? [];
      if (offline.has(id)) return route.abort('internetdisconnected');
      if (id === 'some/gated') return route.fulfill({ status: 401, headers: { ...headers, 'x-error-code': 'GatedRepo' } });
      if (id === 'some/gguf') return route.fulfill({ headers, json: { sha: 'b', siblings: [{ rfilename: 'model.gguf', size: 9 }] } });
      const sizes = await Promise.all(
        names.map(async (name) => ({ rfilename: name, size: (await readFile(`internal/demo/model/${name}`)).length })));
      if (id === 'some/storyteller') return route.fulfill({ headers,
        json: { sha: 'abc', siblings: [...sizes, { rfilename: 'README.md', size: 3 }, { rfilename: 'onnx/model.onnx', size: 9e9 }] } });
      const [, name] = /some\/storyteller\/resolve\/abc\/(.*)/.exec(url) ?? [];
      if (names.includes(name)) return route.fulfill({ headers, body: await readFile(`internal/demo/model/${name}`) });
      return route.fulfill({ status: 404, headers });
    });
    offline.add('some/offline');
    for (const [id, message] of [['storyteller', /named by its owner/], ['some/gated', /gated/],
      ['some/nothing', /no public model some\/nothing/], ['some/gguf', /no model in safetensors/], ['some/offline', /cannot be reached/]]) {
      await page.fill('#hub-id', id);
      await page.click('#hub-go');
      assert.match(await until(page, `it says what is wrong with ${id}`,
        (id) => document.getElementById('hub-go').innerText === 'Download' && document.getElementById('model-error').innerText, id),
        message);
    }
    assert.equal(await text(page, 'model-name'), 'A tiny storyteller, embedded');
    // as Chromium says of the three above
    page.seen.splice(0, page.seen.length, ...page.seen.filter((line) => !/Failed to load resource/.test(line)));
    asked.length = 0;
    await page.fill('#hub-id', `${hub}/some/storyteller`);
    await page.click('#hub-go');
    await until(page, 'the model is open', () => document.getElementById('model-name').textContent === 'some/storyteller');
    await ready(page, 'Start');
    assert.equal(await text(page, 'model-error'), '');
    assert.deepEqual(asked.map((url) => url.split('/').at(-1)).sort(), ['storyteller?blobs=true', ...names].sort());
    await page.unroute(`${hub}/**`);
    page.foreign = undefined;
    await page.click('#embedded-model');
    await ready(page, 'Start');
  },

  async 'a run of a local model goes on after a reload, with that model alone'(t) {
    const page = t.page ??= await t.open();
    await page.reload();
    await ready(page, 'Start');
    const names = ['config.json', 'tokenizer.json', 'model.safetensors', 'tokenizer_config.json'];
    const files = await Promise.all(names.map(async (name) => file(name, await readFile(`internal/demo/model/${name}`))));
    // Handles like those of the browser's dialogue, which nothing can press here.
    await page.evaluate(async (names) => {
      const root = await navigator.storage.getDirectory();
      globalThis.showOpenFilePicker = () => Promise.all(names.map(async (name) => {
        const handle = await root.getFileHandle(name, { create: true });
        const out = await handle.createWritable();
        await out.write(await (await fetch(`demo/model/${name}`)).blob());
        await out.close();
        return handle;
      }));
    }, names);
    await page.click('#pick-model');
    await until(page, 'the picked model is open', () => document.getElementById('model-name').textContent === 'the folder');
    await paste(page, examples);
    await set(page, { ...small, gradient_accumulation_steps: 1 });
    for (const question of await page.$$('#answers textarea')) await question.fill('');
    await ready(page, 'Start');
    await page.click('#start');
    await afterStep(page, 2);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    await page.reload(); // the handles are kept
    await ready(page, 'Go on from step');
    assert.equal(await text(page, 'model-name'), 'the folder');
    await page.evaluate(async (names) => {
      const root = await navigator.storage.getDirectory();
      for (const name of names) await root.removeEntry(name);
    }, names);
    await page.reload(); // the files are gone
    assert.match(await until(page, 'it says so', () => document.getElementById('model-error').innerText), /is not where it was/);
    assert.match(await text(page, 'status'), /Choose the same model again/);
    assert.equal(await page.isDisabled('#start'), true);
    const other = files.map(({ buffer, ...rest }) => ({ ...rest, buffer: Buffer.from(buffer) }));
    other[2].buffer[other[2].buffer.length - 9] ^= 1; // one bit of a weight
    await page.setInputFiles('#file-model', other);
    assert.match(await until(page, 'the other model is refused', () => document.getElementById('model-name').textContent === 'the folder' &&
      document.getElementById('model-error').innerText), /This is another model/);
    assert.equal(await page.isDisabled('#start'), true);
    await page.setInputFiles('#file-model', [...files].reverse());
    await ready(page, 'Go on from step');
    assert.equal(await text(page, 'model-error'), '');
    await page.click('#start');
    await afterStep(page, 3);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    await page.click('#fresh');
    await page.click('#embedded-model');
    await ready(page, 'Start');
  },
};
