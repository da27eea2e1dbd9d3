// The page by its keys alone.
import assert from 'node:assert/strict';
import { until } from './browser.mjs';
import { ready, status } from './page.mjs';
import { taken } from './program.mjs';

const focus = (page) => page.evaluate(() => {
  const { id, tagName, innerText, type } = document.activeElement;
  const box = document.activeElement.getBoundingClientRect(), { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return { id, tagName, type, name: id || innerText?.slice(0, 30),
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
    ring: outlineStyle !== 'none' && outlineWidth !== '0px' };
});

// tabTo presses Tab until an element has the focus. On the way everything that has it is on the screen and can be told.
async function tabTo(page, id, key = 'Tab') {
  const way = [];
  if ((await focus(page)).id === id) return;
  for (let i = 0; i < 150; i++) {
    await page.keyboard.press(key);
    const at = await focus(page);
    if (at.tagName !== 'BODY') {
      assert.ok(at.seen, `${at.name} has the focus out of sight`);
      assert.ok(at.ring, `${at.name} does not show that it has the focus`);
    }
    if (at.id === id) return;
    way.push(at.name);
  }
  throw new Error(`Tab does not lead to ${id}, but to ${way.join(', ')}`);
}

export const keyboard = {
  async 'from load to download by keys alone'(t) {
    const page = await t.open();
    await ready(page);
    await tabTo(page, 'subject-one-word');
    await page.keyboard.press('Enter');
    await until(page, 'the subject is open', () => document.getElementById('data-name').innerText === 'one-word.jsonl');
    await ready(page);
    await tabTo(page, 'max_steps');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('6');
    await tabTo(page, 'start', 'Shift+Tab');
    await ready(page);
    await page.keyboard.press('Enter');
    await until(page, 'it trains', () => globalThis.messages.some(({ event }) => event === 'step'));
    await tabTo(page, 'pause');
    await page.keyboard.press('Space');
    await until(page, 'it is paused', () => /^(Paused after|Done)/.test(document.getElementById('status').innerText));
    if (/^Paused/.test(await status(page))) {
      await ready(page, 'Go on');
      await tabTo(page, 'start');
      await page.keyboard.press('Space');
    }
    await ready(page, 'Train again');
    await tabTo(page, 'ask-text');
    await page.keyboard.type('Where is Ann?');
    await page.keyboard.press('Enter');
    await until(page, 'it answers', () => /Ann\?[^]*\w{2}/.test(document.getElementById('ask-answer').innerText));
    await until(page, 'the answer is whole', () => {
      const asked = globalThis.sent.findLast(({ op }) => op === 'chat');
      return asked && globalThis.messages.some(({ id, event }) => id === asked.id && event === undefined);
    });
    await tabTo(page, 'save-adapter');
    const { name, bytes } = await taken(page, () => page.keyboard.press('Space'));
    assert.equal(name, 'adapter.zip');
    assert.ok(bytes.length > 1000);
  },
};
