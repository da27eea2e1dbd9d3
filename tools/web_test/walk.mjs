// A visitor who presses and types whatever they like: the page never gets stuck, and never says what is not so.
//   QLORA_WALK: how many actions; QLORA_SEED: which ones
import assert from 'node:assert/strict';
import { sleep } from './browser.mjs';
import { actions } from './actions.mjs';
import { few, look, paste, prepare, ready, set, status, tiny } from './page.mjs';

const limit = 90e3; // ms that the page may take until what it shows and what its engine does agree

// random gives numbers from 0 to 1, the same ones for a seed.
function random(seed) {
  return () => { // mulberry32
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// well is how the status begins where Start can be pressed; where it is off the status is the reason.
const well = /^(Ready|Paused|Stopped|Done|Looking)/;

// wrong gives what does not agree; empty: all does.
function wrong({ status: says, start, pause, stop, pending, told, shown }) {
  return [
    [pause === stop, 'only one of Pause and Stop is there'],
    [pause === pending > 0, `Pause is ${pause ? '' : 'not '}there, and the engine ${pending ? 'trains' : 'does not train'}`],
    [pause || start, 'there is neither Start nor Pause'],
    [!start || !pause, 'there are Start and Pause'],
    [!start?.on || well.test(says), 'Start is on, and the status says why it is off'],
    [!start || start.on || !well.test(says), 'Start is off, and the status does not say why'],
    [says !== '', 'the status is empty'],
    [pending === 0 || shown <= told, `step ${shown} is shown, and ${told} was told`],
  ].filter(([good]) => !good).map(([, what]) => what);
}

// agree waits until what is shown and what is done agree.
async function agree(page) {
  for (const end = Date.now() + limit; ; await sleep(50)) {
    const seen = await look(page), faults = wrong(seen);
    if (!faults.length) return seen;
    if (Date.now() > end) throw new Error(`${faults.join('; ')}: ${JSON.stringify(seen)}`);
  }
}

// choose gives an action by its weight.
function choose(next) {
  const list = Object.entries(actions);
  let at = next() * list.reduce((sum, [, { weight }]) => sum + weight, 0);
  return list.find(([, { weight }]) => (at -= weight) < 0) ?? list[0];
}

export const walk = {
  async 'whatever a visitor does, the page agrees with its engine and can train'(t) {
    const seed = Number(process.env.QLORA_SEED ?? 1), wanted = Number(process.env.QLORA_WALK ?? 0), next = random(seed);
    const page = await t.open(), done = [], begun = Date.now();
    page.expected = /^The specified value .* cannot be parsed/; // a script's silly number, which no key can write
    page.on('dialog', (dialog) => dialog.accept());
    await prepare(page);
    try {
      while (wanted ? done.length < wanted : done.length < 30 || (Date.now() - begun < 45e3 && done.length < 300)) {
        const [name, { act }] = choose(next);
        done.push(name);
        const what = await act(page, next).catch((error) => { throw new Error(`${name} cannot be done: ${error.message}`); });
        if (what) done.push(`${done.pop()} ${what}`);
        await agree(page);
        assert.deepEqual(await page.evaluate(() => globalThis.lies), []);
      }
      done.push('to the end');
      await toTheEnd(page);
    } catch (error) {
      throw new Error(`seed ${seed}, action ${done.length}: ${error.message}\nThe last actions: ${done.slice(-20).join(', ')}`);
    }
    console.log(`seed ${seed}: ${done.length} actions in ${((Date.now() - begun) / 1e3).toFixed(0)} s`);
  },
};

// toTheEnd trains, whatever is open.
async function toTheEnd(page) {
  if ((await look(page)).pause) await page.click('#stop', { timeout: 5e3 }).catch(() => {}); // it may have ended by itself
  for (let i = 0; i < 600 && (await look(page)).pause; i++) await sleep(200);
  if ((await look(page)).fresh) await page.click('#fresh');
  if (await page.isVisible('#embedded-model')) await page.click('#embedded-model');
  await paste(page, few);
  await set(page, { ...tiny, lora_r: 4, seed: 1, learning_rate: 0.005 }); // all that a silly setting may have left
  await ready(page, '');
  await page.click('#start');
  await ready(page, 'Train again');
  assert.match(await status(page), /^Done: 6 steps/);
  await agree(page);
}
