// What a page of `qlora-wgpu web` can do, for the tests.
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { until } from './browser.mjs';

// A small run: a dozen examples, two at a time.
export const examples = (await readFile('internal/demo/train.jsonl', 'utf8')).split('\n').slice(0, 12).join('\n') + '\n';
export const small = { max_steps: 20, batch_size: 2, max_seq_length: 48, save_steps: 10 };

export const binary = process.env.QLORA ?? 'bin/qlora-wgpu';

// serve starts the program on a free port of a host and resolves to the page's address.
export async function serve(host = '127.0.0.1') {
  const child = spawn(binary, ['web', '--addr', `${host}:0`], { stdio: ['ignore', 'pipe', 'inherit'] });
  const address = await new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => { const found = /http:\/\/[0-9.[\]:]+:[0-9]+/.exec(text); if (found) resolve(found[0]); });
    child.on('exit', (code) => reject(new Error(`qlora-wgpu web ended with status ${code}`)));
  });
  return { address, stop: () => child.kill('SIGTERM') };
}

// native runs the program to its end and gives its output.
export function native(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '', err = '';
    child.stdout.on('data', (text) => { out += text; });
    child.stderr.on('data', (text) => { err += text; });
    child.on('exit', (code) => (code === 0
      ? resolve(out) : reject(new Error(`qlora-wgpu ${args.join(' ')}: status ${code}\n${out}${err}`))));
  });
}

// record keeps every message that the page gets from its engine in globalThis.messages.
export const record = () => {
  globalThis.messages = [];
  const Original = Worker;
  globalThis.Worker = class extends Original {
    constructor(...args) {
      super(...args);
      this.addEventListener('message', ({ data }) => { if (typeof data === 'string') globalThis.messages.push(JSON.parse(data)); });
    }
  };
};

export const text = (page, id) => page.evaluate((id) => document.getElementById(id).innerText, id);
export const button = (page) =>
  page.evaluate(() => ({ text: document.getElementById('start').textContent, enabled: !document.getElementById('start').disabled &&
  !document.getElementById('start').hidden }));

// ready waits until the page may be started, with this text on the button.
export const ready = (page, label) => until(page, `the button says ${label}`, (label) => {
  const b = document.getElementById('start');
  return !b.disabled && !b.hidden && b.textContent.startsWith(label);
}, label);

// steps gives the losses by step that the page's engine has told since the page was opened.
export const steps = async (page) =>
  new Map(await page.evaluate(() => globalThis.messages.filter(({ event }) => event === 'step').map(({ step }) => [step.step, step.loss])));

export const afterStep = (page, n) =>
  until(page, `step ${n} is done`, (n) => globalThis.messages.some(({ event, step }) => event === 'step' && step.step >= n), n);

export async function set(page, values) {
  await page.evaluate(() => { document.querySelector('#settings details').open = true; });
  for (const [id, value] of Object.entries(values)) await page.fill(`#${id}`, String(value));
}

// paste uses a text as the examples.
export async function paste(page, data) {
  await page.click('#tab-text');
  await page.fill('#data-text', data);
  await page.click('#data-apply');
  await until(page, 'the pasted examples are open', () => document.getElementById('data-name').textContent === 'pasted.jsonl' &&
    document.getElementById('status').textContent.startsWith('Ready'));
}

// download clicks and gives the members of the zip file that comes.
export async function download(page, id) {
  const [file] = await Promise.all([page.waitForEvent('download'), page.click(`#${id}`)]);
  return unzip(await readFile(await file.path()));
}

// unzip reads a zip file whose members are stored as they are.
function unzip(zip) {
  const end = zip.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  const members = new Map();
  for (let at = zip.readUInt32LE(end + 16), n = zip.readUInt16LE(end + 10); n > 0; n--) {
    const size = zip.readUInt32LE(at + 20), names = zip.readUInt16LE(at + 28), local = zip.readUInt32LE(at + 42);
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    members.set(zip.toString('utf8', at + 46, at + 46 + names), zip.subarray(start, start + size));
    at += 46 + names + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return members;
}

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// accessible runs axe-core over the page as it is and gives its serious and critical findings.
export async function accessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).slice(0, 5).join(', ')}`);
}
