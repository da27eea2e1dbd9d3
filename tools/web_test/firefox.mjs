// The page in headless Firefox: a run that is paused, reloaded and gone on with gives the losses of one that nothing
// disturbed. Its WebGPU works on the system's Vulkan driver.
//   node firefox.mjs
// FIREFOX names the executable. puppeteer-core drives it, as Playwright drives a Firefox of its own only.
import assert from 'node:assert/strict';
import puppeteer from 'puppeteer-core';
import { complaints, sleep, until } from './browser.mjs';
import { afterStep, examples, paste, record, set, small, steps } from './page.mjs';
import { serve } from './program.mjs';

const count = 12, pauseAt = 4; // steps; answers are generated after the fourth, and the pause breaks them off
const prefs = { 'dom.webgpu.enabled': true, 'gfx.webgpu.ignore-blocklist': true }; // Linux: off, software drivers refused

const startable = (page) => until(page, 'Start may be pressed', () => {
  const start = document.getElementById('start');
  return start && !start.disabled;
});

// loaded waits for the engine before the button: a reloaded Firefox keeps a button enabled until a script says
// otherwise.
async function loaded(page) {
  await until(page, 'the engine has answered', () => globalThis.messages.some(({ result }) => result?.adapter));
  await startable(page);
}

// train presses Start, waits for a step and gives the losses by step up to there.
async function train(page, last) {
  await page.evaluate(() => { globalThis.messages.length = 0; });
  await page.click('#start');
  await afterStep(page, last);
  if (last < count) await page.click('#pause');
  await startable(page);
  return steps(page);
}

async function interrupted(page) {
  await page.setViewport({ width: 1280, height: 900 });
  // The tests' helpers use this of Playwright.
  page.fill = (selector, value) => page.$eval(selector, (element, value) => {
    element.value = value;
    for (const kind of ['input', 'change']) element.dispatchEvent(new Event(kind, { bubbles: true }));
  }, value);
  await loaded(page);
  await paste(page, examples);
  await set(page, { ...small, max_steps: count });
  await sleep(500); // the plan follows the settings
  await startable(page);
  const whole = await train(page, count);
  const first = await train(page, pauseAt);
  await page.reload();
  await loaded(page);
  const second = await train(page, count);
  const show = (part) => [...part].map(([step, loss]) => `${step}: ${loss.toFixed(4)}`).join(', ');
  console.log(`undisturbed ${show(whole)}\npaused      ${show(first)}\nreloaded    ${show(second)}`);
  assert.deepEqual([...whole.keys()], Array.from({ length: count }, (_, i) => i + 1));
  assert.ok(first.size >= pauseAt && first.size < count, `${first.size} steps before the pause`);
  assert.equal(second.size, count - first.size);
  assert.deepEqual(new Map([...first, ...second]), whole);
  const losses = [...whole.values()];
  assert.ok(losses.at(-1) < 0.7 * losses[0], 'the loss did not fall');
}

const { address, stop } = await serve();
const browser = await puppeteer.launch({ browser: 'firefox', executablePath: process.env.FIREFOX, extraPrefsFirefox: prefs });
try {
  const page = await browser.newPage();
  const seen = complaints(page);
  await page.evaluateOnNewDocument(record);
  await page.goto(address);
  if (await page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter().catch(() => null)))) {
    await interrupted(page);
    assert.deepEqual(seen, [], 'the console complained');
    console.log(`ok   the page in ${await browser.version()}`);
  } else {
    console.log(`SKIP the page in Firefox: ${await browser.version()} offers no WebGPU adapter here`);
  }
} finally {
  await browser.close();
  stop();
}
