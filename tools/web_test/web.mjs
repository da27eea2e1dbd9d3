// Drives the page as a user does, in headless Chromium on its software adapter.
//   node web.mjs FOLDER [NAME]
// FOLDER gets screenshots and whatever the tests write; only tests whose name fits the expression NAME run. The first four build on each other.
import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { complaints, launch, sleep, software, until } from './browser.mjs';
import { accessible, afterStep, binary, download, native, paste, ready, record, serve, set, steps, text } from './page.mjs';

const [folder, only = ''] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node web.mjs FOLDER [NAME]');
  process.exit(2);
}
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });
const in_ = (...names) => join(folder, ...names);

// A small run: a dozen examples, two at a time.
const examples = (await readFile('internal/demo/train.jsonl', 'utf8')).split('\n').slice(0, 12).join('\n') + '\n';
const small = { MaxSteps: 20, BatchSize: 2, MaxSeqLength: 48, SaveSteps: 10 };

const { address, stop } = await serve();
const browser = await launch();
const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light', acceptDownloads: true });
await context.addInitScript(record);

// open opens the page and holds its console to silence.
async function open(where = context) {
  const page = await where.newPage();
  page.seen = complaints(page);
  await page.goto(address);
  return page;
}

const close = (a, b, limit) => assert.ok(Math.abs(a - b) <= limit * Math.abs(b), `${a} and ${b} differ by more than ${limit} of them`);
const mean = (list) => list.reduce((a, b) => a + b) / list.length;

async function shoot(page, name) {
  for (const width of [1280, 390]) {
    for (const scheme of ['light', 'dark']) {
      await page.setViewportSize({ width, height: width === 390 ? 844 : 900 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.evaluate(() => scrollTo(0, 0));
      await sleep(200); // the chart is drawn again
      await page.screenshot({ path: in_(`${name}-${width}-${scheme}.png`), fullPage: true });
      await page.screenshot({ path: in_(`${name}-${width}-${scheme}-top.png`) });
      assert.deepEqual(await accessible(page), [], `axe-core at ${width} px, ${scheme}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `the page is ${wide} px wider than a screen of ${width}`);
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: 'light' });
}

let whole; // losses of the run that nothing interrupted
let page;

const tests = {
  async 'trains, and the answers change'() {
    page = await open();
    await ready(page, 'Start');
    assert.match(await text(page, 'data-facts'), /320 rows, messages, JSON Lines/);
    await shoot(page, 'ready');
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
      document.getElementById('tab-table').addEventListener('keydown', (e) => requestAnimationFrame(() => globalThis.waits.push(performance.now() - e.timeStamp)));
      document.getElementById('tab-text').addEventListener('keydown', (e) => requestAnimationFrame(() => globalThis.waits.push(performance.now() - e.timeStamp)));
    });
    await page.focus('#tab-text');
    for (let i = 0; i < 10; i++) {
      await page.keyboard.press(i % 2 ? 'ArrowRight' : 'ArrowLeft');
      await sleep(150);
    }
    const waits = (await page.evaluate(() => globalThis.waits)).sort((a, b) => a - b);
    console.log(`an input is answered within ${waits.at(-1).toFixed(0)} ms while training (median ${waits[5].toFixed(0)} ms, ${waits.length} inputs)`);
    await ready(page, 'Train again');
    whole = await steps(page);
    assert.equal(whole.size, 20);
    const losses = [...whole.values()];
    assert.ok(mean(losses.slice(-5)) < 0.7 * mean(losses.slice(0, 5)), `the loss did not fall: ${losses}`);
    const cells = (name) => page.evaluate((name) => [...document.querySelectorAll(`#answers .${name}`)].map((e) => e.textContent), name);
    const [before, after] = [await cells('before'), await cells('after')];
    assert.equal(before.length, 3);
    assert.notDeepEqual(before, after);
    for (const answer of [...before, ...after]) assert.ok(answer.length > 1, `an answer is missing: ${before} / ${after}`);
    console.log(`losses ${losses.map((l) => l.toFixed(3)).join(' ')}; ${before[0]} -> ${after[0]}`);
    await page.click('#tab-table');
    await page.evaluate(() => document.activeElement.blur());
    await shoot(page, 'trained');
  },

  async 'the adapter gives the same loss natively'() {
    const members = await download(page, 'save-adapter');
    await mkdir(in_('adapter'), { recursive: true });
    for (const [name, data] of members) await writeFile(in_(name), data);
    await page.click('#measure');
    const here = Number(await until(page, 'the loss is measured', () => document.getElementById('measured').dataset.loss));
    await writeFile(in_('examples.jsonl'), examples);
    const there = JSON.parse(await native('eval', '--model', 'internal/demo/model', '--adapter', in_('adapter'), '--data', in_('examples.jsonl'), '--json')).loss;
    console.log(`loss over the examples: ${here} in the tab, ${there} natively`);
    close(here, there, 1e-5);
  },

  async 'paused, closed, reloaded and without its device it gives the same losses'() {
    await page.close();
    page = await open();
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
    assert.deepEqual(new Map([...first, ...second, ...third]), whole);
  },

  async 'a native checkpoint goes on in the tab, and the tab\'s natively'() {
    await mkdir(in_('native'), { recursive: true });
    const mine = await download(page, 'save-checkpoint');
    for (const [name, data] of mine) {
      await mkdir(join(in_('tab', name), '..'), { recursive: true });
      await writeFile(in_('tab', name), data);
    }
    const train = ['train', '--model', 'internal/demo/model', '--config', in_('tab', 'config.yaml'), '--data', in_('tab', 'pasted.jsonl'), '--autotune', 'off'];
    await native(...train, '--output-dir', in_('native', 'run'), '--save-total-limit', '0');
    const log = async (dir) => new Map((await readFile(join(dir, 'trainer_log.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line)).filter(({ loss }) => loss !== undefined).map(({ step, loss }) => [step, loss]));
    const wanted = await log(in_('native', 'run'));
    for (const [step, loss] of wanted) close(whole.get(step), loss, 1e-3);
    // Native into the tab.
    const checkpoint = in_('native', 'run', 'checkpoint-10');
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
    await until(page, 'the answers after are there', () => [...document.querySelectorAll('#answers .after')].every((e) => e.textContent.length > 1));
    const there = await steps(page);
    assert.equal(Math.min(...there.keys()), 11);
    for (const [step, loss] of there) close(loss, wanted.get(step), 1e-3);
    // And from there natively again.
    const back = await download(page, 'save-checkpoint');
    for (const [name, data] of back) {
      await mkdir(join(in_('back', name), '..'), { recursive: true });
      await writeFile(in_('back', name), data);
    }
    const output = await native(...train, '--output-dir', in_('back', 'run'), '--resume');
    assert.match(output, /Going on from .*checkpoint-1[4-9] after step 1[4-9]/);
    const rest = await log(in_('back', 'run'));
    assert.equal(Math.max(...rest.keys()), 20);
    for (const [step, loss] of rest) close(loss, wanted.get(step), 1e-3);
  },

  async 'wrong files get an error in the page'() {
    if (page) { // what was stopped can still go on, or make place
      await page.reload();
      await ready(page, 'Go on from step');
      await page.click('#fresh');
    } else {
      page = await open();
    }
    await ready(page, 'Start');
    const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64');
    const refused = async (input, files, place, message) => {
      await page.setInputFiles(input, files);
      const said = await until(page, `${place} says something`, (id) => !document.getElementById(id).hidden && document.getElementById(id).innerText, place, 20e3);
      assert.match(said, message);
    };
    const file = (name, data) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(data) });
    await refused('#file-model', [file('picture.gguf', png)], 'model-error', /open model|read gguf|GGUF/i);
    await refused('#file-model', [file('notes.json', '{}')], 'model-error', /neither a GGUF file nor the files of a Hugging Face folder/);
    await refused('#file-model', [file('config.json', '{"architectures":["GPT2LMHeadModel"]}')], 'model-error', /config\.json|model/);
    assert.equal(await text(page, 'model-name'), 'A tiny storyteller, embedded');
    await refused('#file-data', [file('bad.jsonl', '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n{"messages":')], 'data-error', /line 2/);
    await refused('#file-data', [file('questions.jsonl', '{"messages":[{"role":"user","content":"Who?"}]}')], 'data-error', /no supervised token/);
    assert.equal(await page.isDisabled('#start'), true);
    await refused('#file-checkpoint', [file('x.zip', 'PK nothing')], 'files-error', /zip/);
    await refused('#file-checkpoint', [file('manifest.json', '{}'), file('state.json', '{}')], 'files-error', /manifest/);
    await page.click('#data-reset');
    await ready(page, 'Start');
    await set(page, { LoraR: 0 });
    await until(page, 'the rank is refused', () => document.getElementById('start').disabled);
    await set(page, { LoraR: 200 }); // larger than the model's layers, which the plan finds
    await until(page, 'the plan refuses the rank', () => /lora_r is 200/.test(document.getElementById('plan-error').innerText) && document.getElementById('start').disabled);
  },

  async 'a second tab waits for the first'() {
    page ??= await open();
    const second = await open();
    await until(second, 'it says so', () => document.getElementById('notice').dataset.kind === 'second' && !document.getElementById('notice').hidden);
    assert.deepEqual(await accessible(second), []);
    await page.close();
    await ready(second, 'Start');
    assert.deepEqual(second.seen, []);
    page = second;
  },

  async 'without WebGPU or an adapter it helps'() {
    for (const [kind, flags, url] of [
      ['adapter', [], address],
      ['insecure', [...software, '--host-resolver-rules=MAP page.test 127.0.0.1'], address.replace('127.0.0.1', 'page.test')],
    ]) {
      const other = await launch(flags);
      try {
        const absent = await other.newPage();
        const seen = complaints(absent);
        await absent.goto(url);
        await until(absent, `it explains: ${kind}`, (kind) => document.getElementById('notice').dataset.kind === kind && !document.getElementById('notice').hidden, kind, 20e3);
        assert.deepEqual(await accessible(absent), []);
        await absent.screenshot({ path: in_(`absent-${kind}.png`), fullPage: true });
        assert.deepEqual(seen.filter((line) => line !== 'No available adapters.'), []); // which Chromium itself warns of
      } finally {
        await other.close();
      }
    }
  },
};

let failed = 0, ran = 0;
try {
  for (const [name, test] of Object.entries(tests)) {
    if (!new RegExp(only).test(name)) continue;
    ran++;
    const start = Date.now();
    try {
      await test();
      assert.deepEqual(page?.seen ?? [], [], 'the console complained');
      console.log(`ok   ${name} (${((Date.now() - start) / 1e3).toFixed(0)} s)`);
    } catch (error) {
      failed++;
      console.log(`FAIL ${name}: ${error.message}`);
      await page?.screenshot({ path: in_('failed.png'), fullPage: true }).catch(() => {});
      break; // those that follow build on it
    }
  }
} finally {
  await browser.close();
  stop();
}
console.log(`${ran - failed} of ${ran} tests of the page passed (${binary})`);
process.exitCode = failed === 0 && ran > 0 ? 0 : 1;
