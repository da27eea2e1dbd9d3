// The page that `qlora-wgpu data inspect --html` writes, from rows whose every text means harm.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { complaints } from './browser.mjs';
import { shoot } from './looks.mjs';
import { native } from './program.mjs';

const row = (user, assistant) => `${JSON.stringify({ messages: [{ role: 'user', content: user },
  { role: 'assistant', content: assistant }] })}\n`;

export const inspected = {
  async 'the page of data inspect'(t) {
    const folder = resolve(t.path('inspected')), file = resolve(t.path('inspected', 'found.html'));
    await mkdir(folder, { recursive: true });
    const harm = '<script>globalThis.harmed = 1</script></pre><img src=x onerror="globalThis.harmed = 1">';
    const rows = [row(harm, `${harm}{{name}} \u202e\u0007`), row('What is new?', `A${'a'.repeat(300)} word without end.`),
      row(`Again ${harm}`, harm.toUpperCase()), row('How much is 4 and 16?', 'It is 20.'), row('How much is 4 and 16?', 'It is 20.')];
    await writeFile(resolve(folder, 'train.jsonl'), rows.join(''));
    await writeFile(resolve(folder, 'valid.jsonl'), row('How much is 4 and 16?', 'It is 20.') + row('Who are you?', 'Nobody.'));
    await native('data', 'inspect', '--data', folder, '--model', 'internal/demo/model', '--max-seq-length', '200', '--html', file);

    const page = await t.browser.newPage(); // what the tests record of the program's page is none of it
    const seen = complaints(page);
    page.on('request', (request) => { if (request.url() !== pathToFileURL(file).href) seen.push(`a request to ${request.url()}`); });
    await page.goto(pathToFileURL(file).href);
    await shoot(page, t.path, 'inspected');
    assert.deepEqual(seen, []);
    assert.equal(await page.evaluate(() => globalThis.harmed), undefined);
    const weight = await page.evaluate(() => getComputedStyle(document.querySelector('.target')).fontWeight);
    assert.equal(weight, '700', 'its policy lets its style pass');
    const said = await page.$$eval('h3', (all) => all.map((e) => e.textContent));
    assert.ok(await page.$eval('pre', (pre) => pre.textContent.length > 20));
    for (const found of ['1 row is there already', '1 row of valid is among the training rows', '1 row has control characters (U+0007)']) {
      assert.ok(said.includes(found), `${found}: ${said}`);
    }
  },
};
