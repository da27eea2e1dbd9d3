// Runs that earlier versions of the page left in a browser.
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from './browser.mjs';
import { askOnly, errors, ready, said, status, steps } from './page.mjs';
import { losses, native } from './program.mjs';

export const earlier = {
  async 'a run that an earlier version stored goes on'(t) {
    // as trainer/testdata/README.md tells
    const rows = (await readFile('internal/demo/train.jsonl', 'utf8')).split('\n').slice(0, 24).join('\n') + '\n';
    for (const version of ['checkpoint_v1', 'checkpoint_v2']) {
      const folder = join('trainer/testdata', version, 'checkpoint-3');
      const files = { 'inputs/data': rows,
        'inputs/inputs.json': JSON.stringify({ demo: true, model: 'the embedded model', data: 'train.jsonl' }) };
      for (const name of await readdir(folder)) files[`run/checkpoint-3/${name}`] = [...await readFile(join(folder, name))];
      const page = await t.open();
      await ready(page);
      await page.evaluate(async (files) => {
        for (const [path, content] of Object.entries(files)) {
          let at = await navigator.storage.getDirectory();
          const parts = path.split('/');
          for (const part of parts.slice(0, -1)) at = await at.getDirectoryHandle(part, { create: true });
          const out = await (await at.getFileHandle(parts.at(-1), { create: true })).createWritable();
          await out.write(typeof content === 'string' ? content : new Uint8Array(content));
          await out.close();
        }
      }, files);
      await page.reload();
      await until(page, 'it is one of the runs', () => document.querySelectorAll('#runs > *').length === 1);
      assert.match(await said(page, 'run'), /stopped after step 3 of 6/);
      await page.click('#messages [data-topic="run"] button');
      await ready(page, 'Go on from step 3');
      assert.match(await status(page), /Paused after step 3 of 6/);
      assert.deepEqual(await page.evaluate(async () => {
        const names = [];
        for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
        return names.filter((name) => ['run', 'inputs'].includes(name));
      }), [], 'it lies where it lay');
      const shown = await page.evaluate(() =>
        Object.fromEntries(['lora_r', 'lora_alpha', 'max_steps', 'max_seq_length', 'seed',
        'gradient_checkpointing'].map((id) => [id, document.getElementById(id).value])));
      assert.deepEqual(shown, { lora_r: '33', lora_alpha: '6', max_steps: '6', max_seq_length: '96', seed: '7',
        gradient_checkpointing: 'selective' });
      await askOnly(page, '');
      await page.click('#start');
      await ready(page, 'Train again');
      assert.deepEqual(await errors(page), []);
      const here = await steps(page);
      assert.deepEqual([...here.keys()], [4, 5, 6]);
      assert.match(await status(page), /^Done/);

      const run = t.path(version, 'run');
      await mkdir(run, { recursive: true });
      await cp(folder, join(run, 'checkpoint-3'), { recursive: true });
      await writeFile(t.path(version, 'train.jsonl'), rows);
      const settings = ['--max-steps', '6', '--packing', '--max-seq-length', '96', '--lora-r', '33', '--lora-alpha', '6',
        '--lora-target-modules', 'o_proj', '--lora-dropout', '0.1', '--batch-size', '2',
        '--gradient-accumulation-steps', '2', '--val-size', '4', '--optim', 'paged_adamw_8bit', '--weight-decay', '0.1', '--seed', '7',
          '--use-rslora', '--autotune', 'off', '--resume'];
      await native('train', '--model', 'internal/demo/model', '--data', t.path(version, 'train.jsonl'), '--output-dir', run, ...settings);
      const there = await losses(run);
      assert.deepEqual([...there.keys()], [4, 5, 6]);
      for (const [step, loss] of there) assert.ok(Math.abs(here.get(step) - loss) <= 1e-3 * loss,
        `step ${step} of ${version}: ${here.get(step)} in the tab, ${loss} natively`);
    }
  },
};
