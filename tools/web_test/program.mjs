// The program that serves the page, and what comes from it.
import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { inFirefox, until } from './browser.mjs';

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

// losses of a run that the program wrote, by step.
export async function losses(dir) {
  const log = (await readFile(join(dir, 'trainer_log.jsonl'), 'utf8')).trim().split('\n').map((line) => JSON.parse(line));
  return new Map(log.filter(({ loss }) => loss !== undefined).map(({ step, loss }) => [step, loss]));
}

// taken does what makes the page offer a file, and gives its name and its bytes.
export async function taken(page, press) {
  if (inFirefox) return takenAside(page, press);
  const [file] = await Promise.all([page.waitForEvent('download'), press()]);
  return { name: file.suggestedFilename(), bytes: await readFile(await file.path()) };
}

// takenAside is for Firefox, of whose downloads Playwright does not hear.
async function takenAside(page, press) {
  await page.evaluate(() => {
    const make = URL.createObjectURL;
    let blob;
    URL.createObjectURL = (made) => make.call(URL, blob = made);
    HTMLAnchorElement.prototype.click = function () { globalThis.offered = { name: this.download, blob }; };
  });
  await press();
  await until(page, 'a file is offered', () => globalThis.offered);
  const { name, data } = await page.evaluate(async () => {
    const { name, blob } = globalThis.offered, reader = new FileReader();
    delete globalThis.offered;
    await new Promise((resolve) => { reader.onload = resolve; reader.readAsDataURL(blob); });
    return { name, data: reader.result };
  });
  return { name, bytes: Buffer.from(data.slice(data.indexOf(',') + 1), 'base64') };
}

// download clicks and gives the members of the zip file that comes, which it also leaves where keep is given.
export async function download(page, id, keep) {
  const { bytes } = await taken(page, () => page.click(`#${id}`));
  if (keep) await writeFile(keep, bytes);
  return unzip(bytes);
}

// unzip reads a zip file whose members are stored as they are.
export function unzip(zip) {
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

// unpack writes the members of a zip file below a folder.
export async function unpack(members, folder) {
  for (const [name, data] of members) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), data);
  }
}
