// How the page looks, and to whom.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { sleep } from './browser.mjs';

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// accessible runs axe-core over the page as it is and gives its serious and critical findings. Where the system forces
// its colours axe compares those of the sheets, which nobody sees: contrast is then not its matter.
export async function accessible(page, forced = false) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate((forced) => axe.run(document, { resultTypes: ['violations'],
    rules: { 'color-contrast': { enabled: !forced } } }), forced);
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).slice(0, 5).join(', ')}`);
}

const phone = 390, desk = 1280, heights = { [phone]: 844 };
const size = (width) => ({ width, height: heights[width] ?? 900 });

// fits checks that nothing hangs over the side. The narrowest is a screen of 640 px at 200 %.
export async function fits(page, widths) {
  for (const width of widths) {
    await page.setViewportSize(size(width));
    await sleep(150); // the chart is drawn again
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `the page is ${wide} px wider than a screen of ${width}`);
  }
}

// shoot takes pictures of a state of the page, and holds it to what everybody needs at every width and in all colours.
export async function shoot(page, path, name) {
  await fits(page, [320, 390, 768, 1280, 2560]);
  for (const [kind, media] of Object.entries({ light: { colorScheme: 'light' }, dark: { colorScheme: 'dark' },
    forced: { colorScheme: 'dark', forcedColors: 'active' } })) {
    await page.emulateMedia(media);
    for (const width of kind === 'forced' ? [desk] : [desk, phone]) {
      await page.setViewportSize(size(width));
      await page.evaluate(() => scrollTo(0, 0));
      await sleep(150);
      await page.screenshot({ path: path(`${name}-${width}-${kind}.png`), fullPage: true });
      if (kind !== 'forced') await page.screenshot({ path: path(`${name}-${width}-${kind}-top.png`) });
      assert.deepEqual(await accessible(page, kind === 'forced'), [], `axe-core at ${width} px, ${kind}`);
    }
  }
  await page.emulateMedia({ colorScheme: 'light', forcedColors: 'none' });
  await page.setViewportSize(size(desk));
}
