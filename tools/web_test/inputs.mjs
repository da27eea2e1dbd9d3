// What the visitor brings: wrong files, a model of their own, too little memory.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { inFirefox, skip, sleep, until } from './browser.mjs';
import { accessible } from './looks.mjs';
import { afterStep, errors, few, file, fine, look, modelFiles, modelNames, prepare, ready, said, set, status, steps, text, tiny }
  from './page.mjs';

const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
const row = (question, answer) => JSON.stringify({ messages: [{ role: 'user', content: question },
  ...(answer ? [{ role: 'assistant', content: answer }] : [])] });

const wrong = [
  ['file-model', [file('picture.gguf', png)], 'model', /GGUF/i],
  ['file-model', [file('cut.gguf', 'GGUF\x03\0\0\0\x01')], 'model', /gguf/i],
  ['file-model', [file('notes.json', '{}')], 'model', /neither a GGUF file nor the files of a Hugging Face folder/],
  ['file-model', [file('config.json', '{"architectures":["GPT2LMHeadModel"]}')], 'model', /config\.json|model/],
  ['file-data', [file('photo.png', png)], 'data', /photo\.png/],
  ['file-data', [file('nothing.jsonl', '')], 'data', /nothing\.jsonl/],
  ['file-data', [file('spaces.txt', ' \n \n\t\n')], 'data', /spaces\.txt/],
  ['file-data', [file('bad.jsonl', `${row('a', 'b')}\n{"messages":`)], 'data', /line 2/],
  ['file-data', [file('nested.json', '{"a":{"b":[1,2,{"c":[]}]}}')], 'data', /nested\.json/],
  ['file-checkpoint', [file('x.zip', 'PK nothing')], 'take', /zip/],
  ['file-checkpoint', [file('manifest.json', '{}'), file('state.json', '{}')], 'take', /manifest/],
  ['file-checkpoint', [file('adapter_config.json', '{}'), file('adapter_model.safetensors', 'x')], 'take', /adapter/],
];

export const inputs = {
  async 'wrong files are told beside Start, and what was open stays and trains'(t) {
    const page = await t.open();
    await prepare(page);
    const open = async () => [await text(page, 'model-name'), await text(page, 'data-name'), await text(page, 'data-facts')];
    const before = await open(), list = await page.$$eval('#runs > *', (all) => all.length);
    for (const [field, files, topic, message] of wrong) {
      await page.setInputFiles(`#${field}`, files);
      assert.match(await said(page, topic, message), message);
      await ready(page);
      assert.deepEqual(await open(), before, files[0].name);
      assert.match(await status(page), /^Ready/, files[0].name);
      assert.equal(await page.$$eval('#runs > *', (all) => all.length), list, `${files[0].name} is in the list of runs`);
    }
    await page.click('#start');
    await ready(page, 'Train again');
    assert.equal((await steps(page)).size, 6);
  },

  async 'examples without an answer are refused in words'(t) {
    const page = await t.open();
    await prepare(page);
    await page.setInputFiles('#file-data', [file('questions.jsonl', row('Who?'))]);
    const why = await until(page, 'it says why', () => {
      const said = document.getElementById('messages').innerText;
      return /no supervised token|no answer/i.test(said) && said;
    });
    assert.match(why, /questions\.jsonl|example|row/);
    const { start, status: says } = await look(page);
    assert.ok(start.on === /^Ready/.test(says), `Start is ${start.on ? 'on' : 'off'}, and the page says ${says}`);
    await page.setInputFiles('#file-data', [file('good.jsonl', few)]);
    await ready(page);
    await fine(page);
  },

  async 'what in the data is probably a mistake is listed, and goes with it'(t) {
    const page = await t.open();
    await ready(page);
    const looked = () => until(page, 'the examples are looked at', () => { // all that were opened
      const asked = globalThis.sent.filter(({ op }) => op === 'mistakes').map(({ id }) => id);
      return asked.length > 0 && asked.every((id) => globalThis.messages.some((m) => m.id === id));
    });
    const listed = () => page.$$eval('#mistakes li', (all) => all.map((e) => e.innerText));
    await looked();
    assert.deepEqual(await listed(), []); // of the first subject
    const twice = row('Who is here?', 'Ann is.'), users = JSON.stringify({ messages: [{ role: 'user', content: 'Where?' },
      { role: 'user', content: 'Where is Ann?' }, { role: 'assistant', content: 'At home.' }] });
    const bad = file('bad.jsonl', [row('Where is Ben?', 'In the cafÃ©.'), twice, twice, users, row('What ends it?', '<|im_end|> does.'),
      row('Who?')].join('\n'));
    await page.setInputFiles('#file-data', [bad]);
    await until(page, 'they are listed', () => document.querySelector('#mistakes li'));
    assert.deepEqual(await listed(), [
      '1 row has UTF-8 that was read as Latin-1 or Windows-1252, the first at line 1.',
      '1 row has marks of a chat template in a turn (<|im_end|>), the first at line 5.',
      '1 row is there already, the first at line 3, as line 2.',
      '1 row has two user turns in a row, the first at line 4.',
    ]);
    assert.match(await said(page, 'warnings', 'left out'), /line 6/); // which the list does not say again
    assert.deepEqual(await accessible(page), []);
    await page.screenshot({ path: t.path('mistakes.png'), fullPage: true });
    await page.setInputFiles('#file-data', [file('good.jsonl', few)]);
    await until(page, 'the other file is open', () => document.getElementById('data-name').innerText === 'good.jsonl');
    assert.deepEqual(await listed(), []);
    await looked();
    assert.deepEqual(await listed(), []);
    await fine(page);
  },

  async 'a run that does not fit the memory is refused before it is loaded'(t) {
    const page = await t.open();
    await ready(page);
    await set(page, { batch_size: 64, Memory: 0.02 });
    const why = await said(page, 'plan', 'needs');
    assert.match(why, /This run needs [0-9.]+ MiB of memory; it may take 20\.5 MiB/);
    await until(page, 'Start is off', () => document.getElementById('start').disabled);
    assert.match(await status(page), /memory/);
    assert.deepEqual(await accessible(page), []);
    await page.screenshot({ path: t.path('memory.png'), fullPage: true });
    await page.locator('[data-topic="plan"] button', { hasText: 'Batch' }).first().click();
    await ready(page);
    const batch = Number(await page.inputValue('#batch_size'));
    assert.ok(batch >= 1 && batch < 64, `a batch of ${batch}`);
    await set(page, { Memory: 0.001 }); // too little for any change to help
    assert.match(await said(page, 'plan', 'needs .* 1\\.0[0-9]* MiB'), /smaller model/);
    await until(page, 'Start is off', () => document.getElementById('start').disabled);
    assert.equal(await page.$$eval('[data-topic="plan"] button', (all) => all.length), 0);
    await set(page, { Memory: 4 });
    await ready(page);
    await fine(page);
    await set(page, { lora_r: 200 }); // larger than the model's layers, which the engine finds
    assert.match(await said(page, 'plan', 'lora_r|rank'), /200/i);
    await until(page, 'Start is off', () => document.getElementById('start').disabled);
  },

  async 'a browser that tells of a small computer says it for the visitor'(t) {
    const page = await t.open(await t.context(() => Object.defineProperty(navigator, 'deviceMemory', { value: 4 })));
    await ready(page);
    assert.equal(await page.inputValue('#Memory'), '4');
    assert.equal(await page.evaluate(() => globalThis.sent.find(({ op }) => op === 'preview').args.Memory), 4 * 2 ** 30);
  },

  async 'a model that cannot be opened again makes way for the embedded one after a reload'(t) {
    const page = await t.open();
    await prepare(page);
    await page.setInputFiles('#file-model', await modelFiles()); // without handles, which a browser could keep
    await until(page, 'the model is open', () => document.getElementById('model-name').textContent === 'the folder');
    await ready(page);
    await sleep(1000); // the draft is written a moment later
    await page.reload();
    await ready(page);
    assert.match(await said(page, 'lost model'), /not kept/);
    assert.match(await text(page, 'model-name'), /embedded/);
    assert.match(await text(page, 'data-facts'), /^6 rows/);
    assert.deepEqual(await errors(page), []);
  },

  async 'a run of a local model goes on after a reload, with that model alone'(t) {
    if (inFirefox) skip('Firefox gives no handles on files');
    const page = await t.open();
    await prepare(page);
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
    }, modelNames);
    await page.click('#pick-model');
    await until(page, 'the picked model is open', () => document.getElementById('model-name').textContent === 'the folder');
    await set(page, { ...tiny, max_steps: 40 });
    await ready(page);
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
    }, modelNames);
    await page.reload(); // the files are gone
    await said(page, 'model', 'the folder');
    assert.equal(await page.isDisabled('#start'), true);
    assert.match(await status(page), /the folder/);
    await page.click('[data-topic="model"] button');
    assert.match(await said(page, 'model', 'not where it was'), /again/);
    const files = await modelFiles(), other = files.map(({ buffer, ...rest }) => ({ ...rest, buffer: Buffer.from(buffer) }));
    other[2].buffer[other[2].buffer.length - 9] ^= 1; // one bit of a weight
    await page.setInputFiles('#file-model', other);
    await until(page, 'the other model is refused', () => /not the one of this run/.test(document.getElementById('status').innerText));
    assert.equal(await page.isDisabled('#start'), true);
    await page.setInputFiles('#file-model', [...files].reverse());
    await ready(page, 'Go on from step');
    assert.deepEqual(await errors(page), []);
    await page.click('#start');
    await afterStep(page, 3);
    await page.click('#stop');
    await ready(page, 'Train again');
  },
};
