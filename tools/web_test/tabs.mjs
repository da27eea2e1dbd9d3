// Two tabs, and a browser in which nothing can be trained.
import assert from 'node:assert/strict';
import { complaints, inFirefox, launch, until } from './browser.mjs';
import { afterStep, prepare, ready, steps, text, tiny } from './page.mjs';

const long = { ...tiny, max_steps: 60 }; // long enough to be interrupted

const notice = (page, kind) => until(page, `the notice ${kind}`, (kind) => {
  const { hidden, dataset } = document.getElementById('notice') ?? { hidden: true };
  return !hidden && dataset.kind === kind;
}, kind);

export const tabs = {
  async 'a second tab takes the page over, and no step is lost'(t) {
    const context = await t.context(), first = await t.open(context);
    await ready(first);
    await prepare(first, { settings: long, ask: '' });
    await first.click('#start');
    await afterStep(first, 2);
    const second = await t.open(context);
    await notice(second, 'second');
    await second.click('#use-here');
    await notice(first, 'used');
    await until(first, 'it has the focus', () => document.activeElement.id === 'notice');
    await ready(second, 'Go on from step');
    const done = Math.max(...(await steps(first)).keys());
    assert.match(await text(second, 'start'), new RegExp(`step ${done}$`));
    await second.click('#start');
    await afterStep(second, done + 1);
    assert.equal(Math.min(...(await steps(second)).keys()), done + 1);
    await Promise.all([first.waitForNavigation(), first.click('#use-here')]); // and back, in a page that begins anew
    await notice(second, 'used');
    await ready(first, 'Go on from step');
  },

  async 'a tab that does not answer loses its turn'(t) {
    const context = await t.context(), first = await t.open(context);
    await ready(first);
    const second = await t.open(context);
    await notice(second, 'second');
    let over = false;
    const stuck = first.evaluate(() => { for (const end = Date.now() + 60e3; Date.now() < end;); }).then(() => { over = true; });
    await second.click('#use-here');
    await ready(second);
    assert.ok(!over, 'the second waited until the first answered');
    await stuck;
    await notice(first, 'used');
  },

  async 'without an adapter recordings play, and no engine is fetched'(t) {
    const browser = await launch({ adapter: false });
    try {
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      complaints(page);
      const fetched = [];
      page.on('request', (request) => fetched.push(request.url()));
      await page.goto(`${t.address}/#set=butler`);
      await notice(page, inFirefox ? 'browser' : 'adapter');
      await until(page, 'the recording has been played', () =>
        /^A recording: step (\d+) of \1\.$/.test(document.getElementById('status').innerText));
      assert.equal(await page.$('#start'), null);
      assert.ok(await page.$$eval('#answers .now', (list) => list.length) > 0);
      assert.ok(await page.$('#chart canvas'));
      await page.click('#subject-spanish');
      await until(page, 'another one plays', () => /learn|Spanish/i.test(document.querySelector('[aria-pressed=true]').innerText));
      assert.equal(await page.$('#subject-own'), null);
      assert.deepEqual(fetched.filter((url) => /engine\.wasm|\/demo\/model|worker\.js$/.test(url)), []);
      await page.screenshot({ path: t.path('recording.png'), fullPage: true });
    } finally {
      await browser.close();
    }
  },
};
