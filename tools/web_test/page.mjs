// The page of `qlora-wgpu web` as a visitor uses it, for the tests.
import { readFile } from 'node:fs/promises';
import { inFirefox, skip, until } from './browser.mjs';

const first = (n, lines) => lines.split('\n').slice(0, n).join('\n') + '\n';
const demo = await readFile('internal/demo/train.jsonl', 'utf8');

// A small run: a dozen examples, two at a time. A tiny one ends within seconds.
export const examples = first(12, demo);
export const small = { max_steps: 20, batch_size: 2, max_seq_length: 48, save_steps: 10, val_size: 0 };
export const few = first(6, demo);
export const tiny = { max_steps: 6, batch_size: 2, gradient_accumulation_steps: 1, max_seq_length: 32, save_steps: 4, val_size: 0 };
export const question = 'Where is Ann?';

// record keeps what goes to the engine in globalThis.sent and what comes from it in globalThis.messages; presses the
// button globalThis.press.id as soon as the message comes that it waits for, by its event and step or by their number;
// and notes in globalThis.lies whenever the page says that it is ready where Start is off.
export const record = () => {
  Object.assign(globalThis, { sent: [], messages: [], lies: [], press: null });
  const Original = Worker;
  globalThis.Worker = class extends Original {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', ({ data }) => {
        if (typeof data !== 'string') return;
        const message = JSON.parse(data), { press } = globalThis;
        globalThis.messages.push(message);
        if (!press) return;
        const { event, step, after } = press, its = message[event]?.step;
        if (after ? globalThis.messages.length < after : message.event !== event || (step ?? its) !== its) return;
        globalThis.press = { event: 'pressed' };
        setTimeout(() => { // once the page has heard the message too
          document.getElementById(press.id)?.click();
          globalThis.press = null;
        });
      });
    }
    postMessage(message, ...rest) {
      const { args, files, ...request } = message;
      globalThis.sent.push({ ...request, args: args && JSON.parse(args), files: files?.map(({ name }) => name) });
      super.postMessage(message, ...rest);
    }
  };
  document.addEventListener('DOMContentLoaded', () => new MutationObserver(() => {
    const status = document.getElementById('status')?.innerText ?? '', start = document.getElementById('start');
    if (/^ready/i.test(status) && start?.disabled) globalThis.lies.push(status);
  }).observe(document.getElementById('app'), { subtree: true, childList: true, characterData: true, attributes: true }));
};

// engine is the page's worker. Driving Firefox, Playwright reaches none that came after the first.
export async function engine(page) {
  for (const worker of page.workers().reverse()) {
    if (await worker.evaluate(() => true).catch(() => false)) return worker;
  }
  if (inFirefox) skip('no worker of the page is within reach');
  throw new Error('the page has no worker');
}

export const text = (page, id) => page.evaluate((id) => document.getElementById(id)?.innerText ?? '', id);
export const status = (page) => text(page, 'status');

// ready waits until Start can be pressed and says what it should.
export const ready = (page, label = 'Start') => until(page, `Start says ${label}`, (label) => {
  const start = document.getElementById('start');
  return start && !start.disabled && start.textContent.startsWith(label);
}, label);

// said waits for a message of a topic, and gives its text.
export const said = (page, topic, pattern = '.', limit = 30e3) => until(page, `a message about ${topic} like ${pattern}`,
  ([topic, pattern]) => {
    const text = document.querySelector(`#messages [data-topic="${topic}"]`)?.innerText ?? '';
    return new RegExp(pattern, 'i').test(text) && text;
  }, [topic, pattern.source ?? pattern], limit);

// errors are the texts of what the page shows as going wrong.
export const errors = (page) => page.evaluate(() => [...document.querySelectorAll('#messages .error')].map((e) => e.innerText));

// fine waits until nothing is shown as going wrong.
export const fine = (page) => until(page, 'nothing goes wrong', () => !document.querySelector('#messages .error'), null, 30e3);

// look gives what the page shows of its run, and what its engine really has been asked and has told.
export const look = (page) => page.evaluate(() => {
  const { sent, messages } = globalThis;
  const shown = (id) => (document.getElementById(id)?.checkVisibility() ? document.getElementById(id) : null);
  const fatal = messages.some(({ fatal }) => fatal !== undefined);
  const answered = new Set(messages.filter((m) => m.event === undefined && m.id !== undefined).map(({ id }) => id));
  const trains = sent.filter(({ op }) => op === 'train'), pending = fatal ? [] : trains.filter(({ id }) => !answered.has(id));
  const start = shown('start'), progress = document.getElementById('progress');
  const train = trains.at(-1), step = messages.findLast(({ event, id }) => event === 'step' && id === train?.id)?.step.step ?? 0;
  const before = !train?.args.Run ? 0 : Math.max(0, ...messages.flatMap(({ result }) => result?.runs ?? result ?? [])
    .filter(({ id }) => id === train.args.Run).map(({ step }) => step)); // of the run that it went on with
  return { status: document.getElementById('status')?.innerText ?? '', start: start && { text: start.textContent, on: !start.disabled },
    pause: shown('pause') !== null, stop: shown('stop') !== null, fresh: shown('fresh') !== null,
    pending: pending.length, trains: trains.length, told: Math.max(step, before),
    shown: progress?.getAttribute('aria-label') === 'Steps done' ? Math.floor(progress.value) : 0,
    topics: [...document.querySelectorAll('#messages [data-topic]')].map((e) => `${e.dataset.topic}: ${e.innerText}`) };
});

export const sent = (page, op) => page.evaluate((op) => globalThis.sent.filter((request) => request.op === op), op);

export const steps = async (page) =>
  new Map(await page.evaluate(() => globalThis.messages.filter(({ event }) => event === 'step').map(({ step }) => [step.step, step.loss])));

export const afterStep = (page, n) =>
  until(page, `step ${n} is done`, (n) => globalThis.messages.some(({ event, step }) => event === 'step' && step.step >= n), n);

// clear forgets what has been recorded.
export const clear = (page) => page.evaluate(() => { globalThis.messages.length = 0; globalThis.sent.length = 0; });

export async function set(page, values) {
  await page.evaluate(() => { document.querySelector('#settings details').open = true; });
  for (const [id, value] of Object.entries(values)) await page.fill(`#${id}`, String(value));
}

// paste uses a text as the examples.
export async function paste(page, data) {
  await page.press('#tab-text', 'Enter'); // what comes above it may move it from under a mouse
  await page.fill('#data-text', data);
  await page.press('#data-apply', 'Enter');
  const rows = data.trim().split('\n').length;
  await until(page, 'the pasted examples are open',
    (rows) => document.getElementById('data-facts').innerText.startsWith(`${rows} row`), rows);
}

// askOnly leaves one question, or none.
export async function askOnly(page, question) {
  for (const [i, field] of (await page.$$('#answers textarea')).entries()) await field.fill(i === 0 && question ? question : '');
}

// prepare makes the page ready for a run.
export async function prepare(page, { data = few, settings = tiny, ask = question } = {}) {
  await ready(page);
  await paste(page, data);
  await set(page, settings);
  await askOnly(page, ask);
  await ready(page);
}

// file is one that a visitor chooses.
export const file = (name, data) => ({ name, mimeType: 'application/octet-stream', buffer: Buffer.from(data) });

export const modelNames = ['config.json', 'tokenizer.json', 'model.safetensors', 'tokenizer_config.json'];
export const modelFiles = () =>
  Promise.all(modelNames.map(async (name) => file(name, await readFile(`internal/demo/model/${name}`))));
