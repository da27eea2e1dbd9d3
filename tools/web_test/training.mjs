// A run from its start to the program and back: these tests build on each other.
import assert from 'node:assert/strict';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep, until } from './browser.mjs';
import {
  afterStep, clear, engine, errors, examples, look, paste, ready, set, small, status, steps, text,
} from './page.mjs';
import { download, losses, native, unpack } from './program.mjs';

const close = (a, b, limit) => assert.ok(Math.abs(a - b) <= limit * Math.abs(b), `${a} and ${b} differ by more than ${limit} of them`);
const mean = (list) => list.reduce((a, b) => a + b) / list.length;

// What they share: the page, its browser, and the losses of the run that nothing interrupted.
let page, context, whole;

// answered are the answers that the page shows of a kind: before, after.
const answered = (kind) => page.$$eval(`#answers .${kind} .said`, (all) => all.map((e) => e.textContent));

export const training = {
  async 'trains, and the answers change'(t) {
    context = await t.context();
    page = await t.open(context);
    await ready(page);
    assert.match(await text(page, 'data-facts'), /320 rows, messages, JSON Lines/);
    await paste(page, examples);
    await set(page, small);
    await ready(page);
    await until(page, 'the mask is of these examples', () => document.querySelectorAll('#mask p').length === 2);
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
      for (const id of ['tab-table', 'tab-text']) document.getElementById(id)
        .addEventListener('keydown', (e) => requestAnimationFrame(() => globalThis.waits.push(performance.now() - e.timeStamp)));
    });
    await page.focus('#tab-text');
    for (let i = 0; i < 10; i++) {
      await page.keyboard.press(i % 2 ? 'ArrowRight' : 'ArrowLeft');
      await sleep(150);
    }
    const waits = (await page.evaluate(() => globalThis.waits)).sort((a, b) => a - b);
    console.log(`an input is answered within ${waits.at(-1).toFixed(0)} ms while training (${waits.length} inputs, median ` +
      `${waits[waits.length >> 1].toFixed(0)} ms)`);
    await ready(page, 'Train again');
    whole = await steps(page);
    assert.equal(whole.size, 20);
    const list = [...whole.values()];
    assert.ok(mean(list.slice(-5)) < 0.7 * mean(list.slice(0, 5)), `the loss did not fall: ${list}`);
    const [before, after] = [await answered('before'), await answered('after')];
    assert.equal(before.length, 3);
    assert.notDeepEqual(before, after);
    for (const answer of [...before, ...after]) assert.ok(answer.length > 1, `an answer is missing: ${before} / ${after}`);
    console.log(`losses ${list.map((l) => l.toFixed(3)).join(' ')}; ${before[0]} -> ${after[0]}`);
  },

  async 'the adapter gives the same loss natively'(t) {
    await unpack(await download(page, 'save-adapter'), t.path());
    await page.click('#measure');
    const here = Number(await until(page, 'the loss is measured', () => document.getElementById('measured')?.dataset.loss));
    await writeFile(t.path('examples.jsonl'), examples);
    const there = JSON.parse(await native('eval', '--model', 'internal/demo/model', '--adapter', t.path('adapter'), '--data',
      t.path('examples.jsonl'), '--json')).loss;
    console.log(`loss over the examples: ${here} in the tab, ${there} natively`);
    close(here, there, 1e-5);
  },

  async 'paused, closed, reloaded and without its device it gives the same losses'(t) {
    await page.close();
    page = await t.open(context);
    await ready(page, 'Train again'); // the finished run is remembered
    assert.match(await text(page, 'data-facts'), /12 rows/);
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
    page.once('dialog', (dialog) => dialog.accept());
    await page.reload(); // as if the tab had been closed
    await ready(page, 'Go on from step 10');
    await page.click('#start');
    await afterStep(page, 13);
    // The device goes in the middle of a step.
    await (await engine(page)).evaluate(() => {
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
    assert.deepEqual(new Map([...first, ...second, ...third]), whole);
  },

  async 'a native checkpoint goes on in the tab, and the tab\'s natively'(t) {
    await mkdir(t.path('native'), { recursive: true });
    const mine = await download(page, 'save-checkpoint');
    await unpack(mine, t.path('tab'));
    const data = [...mine.keys()].find((name) => !name.startsWith('run/') && !['config.yaml', 'README.txt'].includes(name));
    const train = ['train', '--model', 'internal/demo/model', '--config', t.path('tab', 'config.yaml'), '--data',
      t.path('tab', data), '--autotune', 'off'];
    await native(...train, '--output-dir', t.path('native', 'run'), '--save-total-limit', '0');
    const wanted = await losses(t.path('native', 'run'));
    for (const [step, loss] of wanted) close(whole.get(step), loss, 1e-3);
    // Native into the tab.
    const checkpoint = t.path('native', 'run', 'checkpoint-10');
    await clear(page);
    await page.click('#start'); // another run is under way, beside which the upload is laid
    await afterStep(page, 1);
    await page.click('#pause');
    await ready(page, 'Go on from step');
    const before = await page.$$eval('#runs > *', (list) => list.length);
    await page.setInputFiles('#file-checkpoint', (await readdir(checkpoint)).map((name) => join(checkpoint, name)));
    await ready(page, 'Go on from step 10');
    assert.equal(await page.$$eval('#runs > *', (list) => list.length), before + 1, 'the upload took the place of another run');
    await clear(page);
    await page.click('#start');
    await afterStep(page, 14);
    await page.click('#stop'); // ends the run: the answers are the adapter's as it is
    await ready(page, 'Train again');
    const { told } = await look(page);
    assert.match(await status(page), new RegExp(`Stopped after step ${told}`));
    const asked = await page.$$eval('#answers textarea', (all) => all.filter(({ value }) => value).length);
    await until(page, 'the answers after are there', (n) => document.querySelectorAll('#answers .after').length === n, asked);
    const there = await steps(page);
    assert.equal(Math.min(...there.keys()), 11);
    for (const [step, loss] of there) close(loss, wanted.get(step), 1e-3);
    assert.deepEqual(await errors(page), []);
    // And from there natively again.
    await unpack(await download(page, 'save-checkpoint'), t.path('back'));
    const output = await native(...train, '--output-dir', t.path('back', 'run'), '--resume');
    assert.match(output, /Going on from .*checkpoint-1[4-9] after step 1[4-9]/);
    const rest = await losses(t.path('back', 'run'));
    assert.equal(Math.max(...rest.keys()), 20);
    for (const [step, loss] of rest) close(loss, wanted.get(step), 1e-3);
    await context.close();
  },
};
