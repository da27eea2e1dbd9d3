// Runs the page built from web/check in headless Chromium and prints what fails.
//   node check.mjs FOLDER [NAME]
// FOLDER holds the built page; only checks whose name contains NAME are run. Exit status 0 means: at least one check
// ran, all passed, and the browser's console showed no error or warning.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { complaints, launch, sleep } from './browser.mjs';

const totalLimit = 15 * 60e3, idleLimit = 3 * 60e3; // ms
const types = {
  '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.json': 'application/json', '.txt': 'text/plain',
  '.safetensors': 'application/octet-stream',
};

const [folder, filter = ''] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node check.mjs FOLDER [NAME]');
  process.exit(2);
}

async function answer(request, response) {
  const path = normalize(new URL(request.url, 'http://localhost').pathname);
  const file = join(folder, path === '/' ? 'index.html' : path);
  const type = types[extname(file)];
  const found = type && (await stat(file).catch(() => null));
  if (path === '/favicon.ico') return response.writeHead(204).end();
  if (!found) return response.writeHead(404).end();
  response.writeHead(200, { 'Content-Type': type, 'Content-Length': found.size });
  createReadStream(file).pipe(response);
}

// Prints failures as they come; resolves to the summary's verdict.
async function follow(page) {
  const start = Date.now();
  let last = start, seen = 0;
  const slow = [];
  for (;;) {
    const messages = await page.evaluate((from) => globalThis.messages.slice(from), seen);
    seen += messages.length;
    if (messages.length > 0) last = Date.now();
    for (const { kind, name, ok, seconds, detail } of messages) {
      if (kind === 'summary') {
        slow.sort((a, b) => b.seconds - a.seconds);
        for (const s of slow.slice(0, 5)) console.log(`slowest: ${s.name} ${s.seconds.toFixed(1)} s`);
        console.log(`${name}: ${detail}, ${seconds.toFixed(0)} s`);
        return ok;
      }
      if (!ok) console.log(`FAIL ${kind} ${name}: ${detail}`);
      else if (kind === 'parity') console.log(`${name}: ${detail}`);
      if (kind === 'fatal') return false;
      slow.push({ name, seconds });
    }
    if (Date.now() - last > idleLimit || Date.now() - start > totalLimit) {
      console.log(`FAIL timeout after ${seen} checks, the last was ${slow.at(-1)?.name}`);
      return false;
    }
    await sleep(200);
  }
}

const server = createServer(answer);
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const browser = await launch();
let ok = false, seen = [];
try {
  const page = await browser.newPage();
  seen = complaints(page);
  await page.goto(`http://127.0.0.1:${server.address().port}/?${encodeURIComponent(filter)}`);
  ok = await follow(page);
} finally {
  await browser.close();
  server.close();
}
if (seen.length > 0) console.log(`FAIL the console showed ${seen.length} errors or warnings`);
process.exitCode = ok && seen.length === 0 ? 0 : 1;
