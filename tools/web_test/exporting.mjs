// Files for other programs, beside what the program writes of the same adapter.
import assert from 'node:assert/strict';
import { appendFile, cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from './browser.mjs';
import { accessible, fits } from './looks.mjs';
import { errors, prepare, ready, said, text } from './page.mjs';
import { download, native, taken, unpack, unzip } from './program.mjs';

// handle makes the page's dialogue for a place give a file of the private file system, empty as the browser makes it.
const handle = () => {
  globalThis.showSaveFilePicker = async ({ suggestedName }) => {
    globalThis.chosen = suggestedName;
    return (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true });
  };
};

// written are the chosen file's bytes in base64; null: there is none.
const written = (page) => page.evaluate(async () => {
  const root = await navigator.storage.getDirectory();
  const file = await root.getFileHandle(globalThis.chosen).then((found) => found.getFile(), () => null);
  if (!file) return null;
  const reader = new FileReader();
  await new Promise((resolve) => { reader.onload = resolve; reader.readAsDataURL(file); });
  return reader.result.slice(reader.result.indexOf(',') + 1);
});

// choose chooses a format and waits for what its file will be.
async function choose(page, format, name) {
  await page.selectOption('#export-format', format);
  await until(page, `${name} is described`, (name) => document.getElementById('export-plan').innerText.includes(name), name);
  await until(page, 'it can be downloaded', () => !document.getElementById('export-save')?.disabled);
}

// failed waits until the last download has come to an end that is none.
const failed = async (page, n) => {
  await until(page, `${n} downloads have failed`, (n) => {
    const ids = globalThis.sent.filter(({ op }) => op === 'export').map(({ id }) => id);
    return globalThis.messages.filter(({ id, error }) => error && ids.includes(id)).length === n;
  }, n);
  await idle(page);
};

const idle = (page) => until(page, 'nothing is written', () => document.getElementById('export-save')?.disabled === false);

export const exporting = {
  async 'an adapter and merged models are downloaded as the program exports them'(t) {
    const page = await t.open();
    await prepare(page, { ask: '' });
    await page.click('#start');
    await ready(page, 'Train again');
    await unpack(await download(page, 'save-adapter'), t.path('exported'));
    const model = t.path('exported', 'the embedded model'); // the page's name for it, which the files say
    await cp('internal/demo/model', model, { recursive: true });
    const command = async (output, ...args) => {
      await native('export', '--model', model, '--adapter', t.path('exported', 'adapter'), '--output', t.path('exported', output), ...args);
      return t.path('exported', output);
    };
    await page.click('#export summary');

    await page.evaluate(() => { delete globalThis.showSaveFilePicker; }); // as in a browser that has none
    await choose(page, 'lora', 'the-embedded-model-lora.gguf');
    const lora = await taken(page, () => page.click('#export-save'));
    assert.equal(lora.name, 'the-embedded-model-lora.gguf');
    assert.ok(lora.bytes.equals(await readFile(await command('lora.gguf', '--adapter-only'))), 'the GGUF LoRA differs');
    await idle(page);
    await choose(page, 'mlx', 'the-embedded-model-mlx.zip');
    const members = unzip((await taken(page, () => page.click('#export-save'))).bytes);
    const mlx = await command('mlx', '--format', 'mlx');
    assert.equal(members.size, 2);
    for (const [name, data] of members) assert.ok(data.equals(await readFile(name.replace('adapter-mlx', mlx))), `${name} differs`);
    await idle(page);

    await page.evaluate(handle);
    for (const type of ['q8_0', 'q4_k_m']) {
      await choose(page, type, `the-embedded-model-${type}.gguf`);
      await page.click('#export-save');
      await until(page, 'the file is whole', async (name) => { // it has bytes when all are there
        const root = await navigator.storage.getDirectory();
        return root.getFileHandle(name).then((found) => found.getFile()).then(({ size }) => size > 0, () => false);
      }, `the-embedded-model-${type}.gguf`);
      await idle(page);
      const there = await readFile(await command(`${type}.gguf`, '--type', type, '--report', 'off'));
      assert.ok(Buffer.from(await written(page), 'base64').equals(there), `${type} differs`);
    }
    assert.match(await text(page, 'export-plan'), /rows of 128 elements are/, 'the fallback is not said');
    assert.deepEqual(await errors(page), []);
    await fits(page, [320, 390, 768, 1280, 2560]);
    assert.deepEqual(await accessible(page), []);

    // one that is cancelled leaves nothing, and one of a model that is gone says so
    const going = ['config.json', 'generation_config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];
    await page.setInputFiles('#file-model', going.map((name) => join(model, name))); // the same weights
    await until(page, 'the model is open', () => document.getElementById('model-name').innerText === 'the folder');
    await choose(page, 'f32', 'the-folder-f32.gguf');
    await page.evaluate(() => {
      new MutationObserver((_, watch) => {
        const cancel = document.getElementById('export-cancel');
        if (!cancel) return;
        watch.disconnect();
        cancel.click();
      }).observe(document.body, { subtree: true, childList: true });
    });
    await page.click('#export-save');
    await failed(page, 1);
    assert.equal(await written(page), null, 'something is left');
    assert.deepEqual(await errors(page), [], 'a wish of the user is no error');

    await appendFile(join(model, 'model.safetensors'), 'x');
    await page.click('#export-save');
    assert.match(await said(page, 'take', 'changed or moved'), /choose the model.s files again under Model/i);
    await failed(page, 2);
    assert.equal(await written(page), null, 'something is left');
  },
};
