// Every state of the page: pictures of it, axe-core, all widths, light, dark and forced colours, twice the size.
import assert from 'node:assert/strict';
import { until } from './browser.mjs';
import { shoot } from './looks.mjs';
import { afterStep, file, prepare, ready, said, set, tiny } from './page.mjs';

const long = 'A very long answer without an end, '.repeat(40) + 'x'.repeat(300);

export const views = {
  async 'looks right at first, with a subject chosen, and with an error'(t) {
    const page = await t.open();
    await ready(page);
    await shoot(page, t.path, 'first');
    await page.locator('[id^=subject-]').nth(2).click();
    await ready(page);
    await until(page, 'its recorded run is played', () => document.querySelectorAll('#answers .after').length > 0);
    await shoot(page, t.path, 'subject');
    await page.setInputFiles('#file-data', [file('photo.png', 'PNG')]);
    await said(page, 'data', 'photo');
    await set(page, { lora_r: '' });
    await page.evaluate(() => document.activeElement.blur());
    await shoot(page, t.path, 'error');
  },

  async 'looks right while it trains, when it is done, and in a talk'(t) {
    const page = await t.open();
    await prepare(page, { settings: { ...tiny, max_steps: 3000, save_steps: 1000 }, ask: 'Where is Ann?' });
    await page.click('#start');
    await afterStep(page, 3);
    await shoot(page, t.path, 'training');
    assert.ok(await page.isVisible('#pause'), 'it has ended before the pictures were taken');
    await page.click('#stop');
    await ready(page, 'Train again');
    await until(page, 'the last answers are there', () => document.querySelectorAll('#answers .after').length > 0);
    await shoot(page, t.path, 'done');
    await page.fill('#ask-text', 'Who are you? '.repeat(20));
    await page.press('#ask-text', 'Enter');
    await until(page, 'the answer is whole', () => {
      const asked = globalThis.sent.findLast(({ op }) => op === 'chat');
      return asked && globalThis.messages.some(({ id, event }) => id === asked.id && event === undefined);
    });
    await shoot(page, t.path, 'chat');
  },

  async 'long words and other scripts stay within the page'(t) {
    const page = await t.open();
    await prepare(page);
    await page.click('#tab-table');
    const fields = page.locator('#rows textarea');
    await fields.nth(0).fill('مرحبا، كيف حالك؟');
    await fields.nth(1).fill(long);
    await page.locator('#answers textarea').first().fill(long.slice(0, 600));
    await ready(page);
    for (const width of [320, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      const { wide, tall } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth - innerWidth,
        tall: document.documentElement.scrollHeight }));
      assert.ok(wide <= 0, `the page is ${wide} px wider than a screen of ${width}`);
      assert.ok(tall < 12000, `the page is ${tall} px high`);
    }
    assert.equal(await fields.nth(0).evaluate((e) => getComputedStyle(e).direction), 'rtl');
  },
};
