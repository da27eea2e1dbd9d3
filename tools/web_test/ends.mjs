// Runs that end before their time: whenever that is, the steps that are done are kept, and the page says so.
import assert from 'node:assert/strict';
import { inFirefox, until } from './browser.mjs';
import { askOnly, clear, engine, errors, few, look, prepare, ready, set, status, steps, text, tiny } from './page.mjs';

const phases = [
  ['getting ready', {}], ['beginning', { event: 'run' }], ['reading the model', { event: 'load' }],
  ['asking the model as it is', { event: 'answering', step: 0 }], ['asking it the next thing', { event: 'answer', step: 0 }],
  ['the middle of a step', { event: 'stepping', step: 2 }], ['the end of a step', { event: 'step', step: 1 }],
  ['an answer in mid-run', { event: 'answering', step: 2 }], ['answers in mid-run', { event: 'answer', step: 2 }],
  ['saving', { event: 'saving', step: 4 }], ['having saved', { event: 'checkpoint', step: 4 }],
];
const two = 'What does Gus have?';

// begin presses Start, and then id in a phase.
async function begin(page, id, press) {
  await ready(page, '');
  await clear(page);
  await page.evaluate(([id, press]) => {
    document.getElementById('start').click();
    globalThis.press = press.event || press.after ? { id, ...press } : null;
    if (!globalThis.press) setTimeout(() => document.getElementById(id).click());
  }, [id, press]);
}

// resting waits until the run has ended, in the engine and on the page. It tells whether the button was pressed: what
// goes fast is not always told.
async function resting(page) {
  await until(page, 'the run has ended', ended);
  return page.evaluate(() => globalThis.press === null);
}

const ended = () => {
  const start = document.getElementById('start');
  const answered = new Set(globalThis.messages.filter((m) => m.event === undefined).map(({ id }) => id));
  return start && !start.disabled && !document.getElementById('pause') && globalThis.press?.event !== 'pressed' &&
    globalThis.sent.every(({ op, id }) => op === 'cancel' || answered.has(id));
};

// truthful checks what the page says of a run that has ended after the step that was told last, and gives the step. One
// whose steps are all done may be paused too: it owes its last answers.
async function truthful(page, id, done) {
  const { told, start, status: says } = await look(page);
  const seen = `${id} after step ${told}: the page says “${says}”, ${await errors(page)}`;
  assert.deepEqual(await errors(page), [], seen);
  if (told === 0) { // what was there before the run that has come to nothing
    assert.match(says, /^(Ready|Done|Stopped)/, seen);
  } else {
    const ended = id === 'stop' || (told === done && says.startsWith('Done'));
    const beginning = !ended ? `Paused after step ${told} of` : told === done ? 'Done' : `Stopped after step ${told}`;
    assert.ok(says.startsWith(beginning), seen);
    assert.equal(start.text, ended ? 'Train again' : `Go on from step ${told}`, seen);
    assert.match(await page.$eval('#runs [aria-current]', (e) => e.innerText), new RegExp(`step ${told} of`), 'the list has another step');
  }
  return told;
}

async function open(t, before = () => {}) {
  const page = await t.open();
  await prepare(page, { data: few, settings: tiny });
  await before(page);
  const fields = await page.$$('#answers textarea');
  await fields[1].fill(two);
  await ready(page);
  await page.click('#start');
  await ready(page, 'Train again');
  const whole = await steps(page);
  assert.equal(whole.size, 6);
  return { page, whole };
}

// onwards finishes what was paused, and checks that its losses are those of a run that nothing interrupted.
async function onwards(page, whole) {
  const first = await steps(page);
  await ready(page, 'Go on from step');
  await clear(page);
  await page.click('#start');
  await ready(page, 'Train again');
  assert.deepEqual(new Map([...first, ...await steps(page)]), whole);
}

export const ends = {
  async 'pause is heard while the page still prepares itself'(t) {
    const page = await t.open();
    await ready(page); // the engine compiles ahead from here on
    await begin(page, 'pause', { event: 'compiling' });
    if (!(await resting(page)) && inFirefox) return; // which compiles too fast to be met
    assert.equal(await page.evaluate(() => globalThis.press), null, 'nothing was compiled');
    assert.equal(await truthful(page, 'pause'), 0);
    assert.match(await text(page, 'messages'), /Nothing was saved/);
    await set(page, tiny);
    await askOnly(page, '');
    await ready(page);
    await page.click('#start');
    await ready(page, 'Train again');
  },

  // QLORA_CANCELS: every paused run is finished, and not only some of them.
  async 'pause is heard in every phase, and keeps the steps'(t) {
    const { page, whole } = await open(t), heard = [];
    const finished = new Set(['the middle of a step', 'an answer in mid-run', 'having saved']);
    for (const [phase, press] of phases) {
      await begin(page, 'pause', press);
      if (await resting(page)) heard.push(phase);
      else continue;
      const told = await truthful(page, 'pause', 6).catch((error) => { throw new Error(`pause while ${phase}: ${error.message}`); });
      if (press.step) assert.ok(told >= (press.event === 'stepping' ? 1 : press.step), `${told} steps were kept`);
      if (!(await page.$('#fresh'))) continue;
      if (finished.has(phase) || process.env.QLORA_CANCELS) await onwards(page, whole);
      else await page.click('#fresh');
    }
    assert.ok(heard.length >= phases.length - 2, `only these phases were met: ${heard}`);
  },

  async 'stop is heard in all kinds of phases, and keeps the steps'(t) {
    const { page } = await open(t), heard = [];
    const others = phases.filter((_, i) => i % 3 === 1 || process.env.QLORA_CANCELS); // the way is that of pause
    for (const [phase, press] of others) {
      await begin(page, 'stop', press);
      if (await resting(page)) heard.push(phase);
      else continue;
      const told = await truthful(page, 'stop', 6).catch((error) => { throw new Error(`stop while ${phase}: ${error.message}`); });
      if (press.step) assert.ok(told >= (press.event === 'stepping' ? 1 : press.step), `${told} steps were kept`);
      if (told > 0) await until(page, 'the last answers are of the run as it was stopped',
        () => document.querySelectorAll('#answers .after').length === 2);
    }
    assert.ok(heard.length >= others.length - 1, `only these phases were met: ${heard}`);
  },

  // QLORA_CANCELS: how often. The next test then tries more moments too.
  async 'pause at any moment keeps the steps'(t) {
    const { page, whole } = await open(t);
    const all = await page.evaluate(() => globalThis.messages.length), times = Number(process.env.QLORA_CANCELS ?? 2);
    for (let i = 0; i < times; i++) {
      const after = 1 + Math.floor(((i + 0.5) * 0.618034) % 1 * all * 0.6);
      await begin(page, 'pause', { after });
      await resting(page);
      const told = await truthful(page, 'pause', 6).catch((error) => { throw new Error(`after message ${after}: ${error.message}`); });
      if (await page.$('#fresh')) await onwards(page, whole);
    }
  },

  async 'a device that is lost at any moment changes no loss'(t) {
    const count = async (page, lose) => (await engine(page)).evaluate((lose) => {
      self.encode ??= GPUDevice.prototype.createCommandEncoder;
      self.encoded = 0;
      GPUDevice.prototype.createCommandEncoder = function (...args) {
        if (++self.encoded === lose) this.destroy();
        return self.encode.apply(this, args);
      };
    }, lose);
    const { page, whole } = await open(t, (page) => count(page, 0));
    let all = await (await engine(page)).evaluate(() => self.encoded);
    const lost = () => page.evaluate(() => globalThis.messages.some(({ event }) => event === 'lost'));
    for (const part of process.env.QLORA_CANCELS ? [0.02, 0.15, 0.3, 0.55, 0.75, 0.95] : [0.02, 0.55]) {
      for (let tries = 0; tries < 3; tries++) { // how often it encodes depends on how long things take
        await count(page, Math.ceil(all * part));
        await clear(page);
        await page.click('#start');
        await ready(page, 'Train again');
        if (await lost()) break;
        all = await (await engine(page)).evaluate(() => self.encoded);
      }
      assert.ok(await lost(), `the device was not lost after ${part} of the run`);
      assert.deepEqual(await steps(page), whole, `lost after ${part} of the run`);
      assert.deepEqual(await errors(page), []);
    }
  },

  async 'an engine that breaks down in mid-run says so, and the run goes on after a reload'(t) {
    const page = await t.open();
    page.expected = /boom|wasm|exit/i;
    await prepare(page, { settings: { ...tiny, max_steps: 40, save_steps: 2 }, ask: '' });
    await page.click('#start');
    await until(page, 'it has saved', () => globalThis.messages.some(({ event }) => event === 'checkpoint'));
    await (await engine(page)).evaluate(() => { postMessage(JSON.stringify({ fatal: 'boom' })); self.close(); });
    await until(page, 'it says so', () => /broke down/.test(document.querySelector('#messages .error')?.innerText));
    const { pause, start, status: says } = await look(page);
    assert.ok(!pause && !start?.on, `it still seems to train: ${says}`);
    assert.match(says, /does not work|broke down/);
    page.once('dialog', (dialog) => dialog.accept());
    await Promise.all([page.waitForEvent('load'), page.click('#messages .error button')]);
    await until(page, 'the run is open or offered', () => { // it depends on whether the draft knew of it
      const offered = [...document.querySelectorAll('#messages button')].find(({ innerText }) => /go on/i.test(innerText));
      offered?.click();
      return offered || document.getElementById('start')?.innerText.startsWith('Go on');
    }, null, 60e3);
    await ready(page, 'Go on from step');
    assert.match(await status(page), /Paused after step \d+ of 40/);
  },
};
