// Where the page cannot work, or not now.
import assert from 'node:assert/strict';
import { complaints, inFirefox, launch, until } from './browser.mjs';
import { accessible } from './looks.mjs';
import { ready } from './page.mjs';
import { serve } from './program.mjs';

export const absence = {
  async 'a second tab waits for the first'(t) {
    const context = await t.context(), first = await t.open(context);
    await ready(first);
    const second = await t.open(context);
    await until(second, 'it says so', () => document.getElementById('notice').dataset.kind === 'second' &&
      !document.getElementById('notice').hidden);
    assert.deepEqual(await accessible(second), []);
    await first.close();
    await ready(second);
  },

  async 'without WebGPU or an adapter it helps'(t) {
    // By another address than this computer's own, without TLS, browsers give a page less. The program answers there
    // where it serves every address.
    const everywhere = await serve('0.0.0.0');
    const other = '192.0.2.1', port = everywhere.address.split(':').at(-1);
    try {
      for (const [kind, how, url] of [
        [inFirefox ? 'browser' : 'adapter', { adapter: false }, t.address],
        ...(inFirefox ? [] : [['insecure', { local: other }, `http://${other}:${port}`]]),
      ]) {
        const browser = await launch(how);
        try {
          const absent = await browser.newPage();
          const seen = complaints(absent);
          await absent.goto(url);
          await until(absent, `it explains: ${kind}`, (kind) => document.getElementById('notice').dataset.kind === kind &&
            !document.getElementById('notice').hidden, kind, 20e3);
          assert.deepEqual(await accessible(absent), []);
          await absent.screenshot({ path: t.path(`absent-${kind}.png`), fullPage: true });
          // which Chromium itself warns of
          assert.deepEqual(seen.filter((line) => line !== 'No available adapters.'), []);
        } finally {
          await browser.close();
        }
      }
    } finally {
      everywhere.stop();
    }
  },
};
