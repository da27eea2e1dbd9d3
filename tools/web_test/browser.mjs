// The headless browser of all tests here: Chromium, or Firefox where FIREFOX names its executable.
import { chromium, firefox } from 'playwright-core';

export const inFirefox = Boolean(process.env.FIREFOX);

// software is what makes Chromium offer its software WebGPU adapter.
const software = [
  '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
  '--disable-gpu-watchdog', // making a pipeline of a large kernel can take longer than it allows
];

// prefs are what makes Firefox offer one on Linux, where WebGPU is off and software drivers are refused.
const prefs = { 'dom.webgpu.enabled': true, 'gfx.webgpu.ignore-blocklist': true };

// launch makes a new temporary profile and removes it on close, with all processes of the browser; on SIGINT and
// SIGTERM too. adapter: whether WebGPU has one. local: an address that becomes this computer's, in
// Chromium.
export function launch({ adapter = true, local = '' } = {}) {
  if (inFirefox) {
    return firefox.launch({ channel: 'moz-firefox', executablePath: process.env.FIREFOX,
      firefoxUserPrefs: adapter ? prefs : {} });
  }
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ['--headless=new', '--no-sandbox', '--disable-background-networking', '--disable-quic', ...(adapter ? software : []),
      ...(local ? [`--host-resolver-rules=MAP ${local} 127.0.0.1`] : [])],
  });
}

// complaints prints and counts what the page's console shows as errors or warnings, and what the page throws.
export function complaints(page) {
  const seen = [];
  page.on('console', (entry) => {
    const { url } = entry.location(), text = /^Failed to load resource/.test(entry.text()) ? `${entry.text()}: ${url}` : entry.text();
    if (entry.type() === 'error' || entry.type() === 'warning') seen.push(text);
    console.log(`console ${entry.type()}: ${text}`);
  });
  page.on('pageerror', (err) => {
    if (inFirefox && /blocked an inline style/.test(err.message)) return; // of the driver, which hides carets from pictures
    seen.push(err.message);
    console.log(`page error: ${err.message}`);
  });
  return seen;
}

// refused is what the console says of a request that is refused or finds no network: Chromium's words, and Firefox's.
export const refused = /Failed to load resource|Failed to fetch|CORS request did not succeed/;

// skip ends a test that this browser cannot run.
export function skip(why) {
  throw Object.assign(new Error(why), { skip: true });
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// until polls a function in the page (waitForFunction would need eval, which the page's policy forbids) until it gives
// something true.
export async function until(page, what, test, arg, limit = 120e3) {
  if (inFirefox) limit *= 3; // whose software adapter is slower
  const end = Date.now() + limit;
  for (;;) {
    const value = await page.evaluate(test, arg);
    if (value) return value;
    if (Date.now() > end) throw new Error(
      `waited ${limit / 1e3} s in vain until ${what}; the page says: ${await page.evaluate(() => document.body.innerText.slice(0, 1500))}`);
    await sleep(100);
  }
}
