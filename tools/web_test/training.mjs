// A run from its start to the program and back: these tests build on each other.
import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep, until } from './browser.mjs';
import { afterStep, download, examples, native, paste, ready, set, small, steps, text } from './page.mjs';

const close = (a, b, limit) => assert.ok(Math.abs(a - b) <= limit * Math.abs(b), `${a} and ${b} differ by more than ${limit} of them`);
const mean = (list) => list.reduce((a, b) => a + b) / list.length;

export const training = {
  async 'trains, and the answers change'(t) {
    const page = t.page = await t.open();
    await ready(page, 'Start');
    assert.match(await text(page, 'data-facts'), /320 rows, messages, JSON Lines/);
    await t.shoot(page, 'ready');
    await paste(page, examples);
    await set(page, small);
    await sleep(500);
    await ready(page, 'Start');
    const learned = await page.evaluate(() => [...document.querySelectorAll('#mask .target')].map((e) => e.textContent).join(''));
    const batch = JSON.parse(`[${examples.trim().split('\n').join(',')}]`).map(({ messages }) => messages[1].content);
    assert.ok(batch.filter((answer) => learned.includes(answer)).length >= 2, `the mask shows other answers: ${learned}`);
    assert.ok(!/Where|What|Who/.test(learned), `the mask marks questions: ${learned}`);
    const start = Date.now();
    await page.click('#start');
    await afterStep(page, 1);
    console.log(`the first step came ${((Date.now() - start) / 1e3).toFixed(1)} s after pressing Start`);
    // How long an input waits while the engine trains: from the key's time stamp to the frame that shows it.
    await page.evaluate(() => {
      globalThis.waits = [];
      document.getElementById('tab-table')
        .addEventListener('keydown', (e) => requestAnimationFrame(() => globalThis.waits.push(performance.now() - e.timeStamp)));
      document.getElementById('tab-text')
        .addEventListener('keydown', (e) => requestAnimationFrame(() => globalThis.waits.push(performance.now() - e.timeStamp)));
    });
    await page.focus('#tab-text');
    for (let i = 0; i < 10; i++) {
      await page.keyboard.press(i % 2 ? 'ArrowRight' : 'ArrowLeft');
      await sleep(150);
    }
    const waits = (await page.evaluate(() => globalThis.waits)).sort((a, b) => a - b);
    console.log(`an input is answered within ${waits.at(-1).toFixed(0)} ms while training (median ${waits[5].toFixed(0)} ms, ` +
      `${waits.length} inputs)`);
    await ready(page, 'Train again');
    t.whole = await steps(page);
    assert.equal(t.whole.size, 20);
    const losses = [...t.whole.values()];
    assert.ok(mean(losses.slice(-5)) < 0.7 * mean(losses.slice(0, 5)), `the loss did not fall: ${losses}`);
    const cells = (name) => page.evaluate((name) => [...document.querySelectorAll(`#answers .${name}`)].map((e) => e.textContent), name);
    const [before, after] = [await cells('before'), await cells('after')];
    assert.equal(before.length, 3);
    assert.notDeepEqual(before, after);
    for (const answer of [...before, ...after]) assert.ok(answer.length > 1, `an answer is missing: ${before} / ${after}`);
    console.log(`losses ${losses.map((l) => l.toFixed(3)).join(' ')}; ${before[0]} -> ${after[0]}`);
    await page.click('#tab-table');
    await page.evaluate(() => document.activeElement.blur());
    await t.shoot(page, 'trained');
  },

  async 'the adapter gives the same loss natively'(t) {
    const { page } = t;
    const members = await download(page, 'save-adapter');
    await mkdir(t.path('adapter'), { recursive: true });
    for (const [name, data] of members) await writeFile(t.path(name), data);
    await page.click('#measure');
    const here = Number(await until(page, 'the loss is measured', () => document.getElementById('measured').dataset.loss));
    await writeFile(t.path('examples.jsonl'), examples);
    const there = JSON.parse(await native('eval', '--model', 'internal/demo/model', '--adapter', t.path('adapter'), '--data',
      t.path('examples.jsonl'), '--json')).loss;
    console.log(`loss over the examples: ${here} in the tab, ${there} natively`);
    close(here, there, 1e-5);
  },

  async 'paused, closed, reloaded and without its device it gives the same losses'(t) {
    await t.page.close();
    const page = t.page = await t.open();
    await ready(page, 'Train again'); // the finished run is remembered
    assert.equal(await text(page, 'data-name'), 'pasted.jsonl');
    await page.click('#start');
    await afterStep(page, 5);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    const first = await steps(page);
    await page.reload();
    await ready(page, 'Go on from step');
    await page.click('#start');
    await afterStep(page, 12); // beyond the checkpoint of step 10
    const second = await steps(page);
    await page.reload(); // as if the tab had been closed
    await ready(page, 'Go on from step 10');
    await page.click('#start');
    await afterStep(page, 13);
    // The device goes in the middle of a step.
    await page.workers()[0].evaluate(() => {
      const encode = GPUDevice.prototype.createCommandEncoder;
      GPUDevice.prototype.createCommandEncoder = function (...args) {
        GPUDevice.prototype.createCommandEncoder = encode;
        this.destroy();
        return encode.apply(this, args);
      };
    });
    await until(page, 'the device is lost', () => globalThis.messages.some(({ event }) => event === 'lost'));
    await ready(page, 'Train again');
    const third = await steps(page);
    assert.ok(first.size >= 5 && second.size >= 3 && third.size === 10, `${first.size}, ${second.size} and ${third.size} steps`);
    assert.deepEqual(new Map([...first, ...second, ...third]), t.whole);
  },

  async 'a native checkpoint goes on in the tab, and the tab\'s natively'(t) {
    const { page } = t;
    await mkdir(t.path('native'), { recursive: true });
    const mine = await download(page, 'save-checkpoint');
    for (const [name, data] of mine) {
      await mkdir(join(t.path('tab', name), '..'), { recursive: true });
      await writeFile(t.path('tab', name), data);
    }
    const train = ['train', '--model', 'internal/demo/model', '--config', t.path('tab', 'config.yaml'), '--data',
      t.path('tab', 'pasted.jsonl'), '--autotune', 'off'];
    await native(...train, '--output-dir', t.path('native', 'run'), '--save-total-limit', '0');
    const log = async (dir) => new Map((await readFile(join(dir, 'trainer_log.jsonl'), 'utf8')).trim().split('\n')
      .map((line) => JSON.parse(line)).filter(({ loss }) => loss !== undefined).map(({ step, loss }) => [step, loss]));
    const wanted = await log(t.path('native', 'run'));
    for (const [step, loss] of wanted) close(t.whole.get(step), loss, 1e-3);
    // Native into the tab.
    const checkpoint = t.path('native', 'run', 'checkpoint-10');
    await page.evaluate(() => { globalThis.messages.length = 0; });
    await page.click('#start'); // another run is under way, which the upload replaces
    await afterStep(page, 1);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    await page.setInputFiles('#file-checkpoint', (await readdir(checkpoint)).map((name) => join(checkpoint, name)));
    await ready(page, 'Go on from step 10');
    await page.evaluate(() => { globalThis.messages.length = 0; });
    await page.click('#start');
    await afterStep(page, 14);
    await page.click('#stop'); // ends the run: the answers are the adapter's as it is
    await ready(page, 'Train again');
    await until(page, 'the answers after are there',
      () => [...document.querySelectorAll('#answers .after')].every((e) => e.textContent.length > 1));
    const there = await steps(page);
    assert.equal(Math.min(...there.keys()), 11);
    for (const [step, loss] of there) close(loss, wanted.get(step), 1e-3);
    // And from there natively again.
    const back = await download(page, 'save-checkpoint');
    for (const [name, data] of back) {
      await mkdir(join(t.path('back', name), '..'), { recursive: true });
      await writeFile(t.path('back', name), data);
    }
    const output = await native(...train, '--output-dir', t.path('back', 'run'), '--resume');
    assert.match(output, /Going on from .*checkpoint-1[4-9] after step 1[4-9]/);
    const rest = await log(t.path('back', 'run'));
    assert.equal(Math.max(...rest.keys()), 20);
    for (const [step, loss] of rest) close(loss, wanted.get(step), 1e-3);
  },
};
