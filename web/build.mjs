// Builds the page into a folder that any static host can serve, and into web/built, from where the program embeds it.
//   node web/build.mjs FOLDER
// npm ci has put uPlot into web/node_modules. Go has to be there too.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node web/build.mjs FOLDER');
  process.exit(2);
}
const out = resolve(folder);
const limits = { 'engine.wasm.br': 3e6, 'demo/model/model.safetensors': 6e6 }; // bytes that a visitor fetches

const go = (...args) => execFileSync('go', args,
  { cwd: root, encoding: 'utf8', env: { ...process.env, GOOS: args[0] === 'build' ? 'js' : '',
  GOARCH: args[0] === 'build' ? 'wasm' : '' } }).trim();
// What of Preact, its signals and htm is taken, and under which name.
const modules = { 'preact.js': 'preact/dist/preact.mjs', 'preact-hooks.js': 'preact/hooks/dist/hooks.mjs',
  'preact-signals.js': '@preact/signals/dist/signals.mjs', 'preact-signals-core.js': '@preact/signals-core/dist/signals-core.mjs',
  'htm.js': 'htm/dist/htm.mjs', 'htm-preact.js': 'htm/preact/index.mjs' };
const vendored = (name) => `./${name.replace('@preact/', 'preact-').replace('/', '-')}.js`;
const goroot = go('env', 'GOROOT');
const uplot = join(root, 'web/node_modules/uplot');

rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, 'vendor'), { recursive: true });
cpSync(join(root, 'web/page'), out, { recursive: true });
go('build', '-trimpath', '-ldflags=-s -w', '-o', join(out, 'engine.wasm'), './web/engine');
cpSync(join(goroot, 'lib/wasm/wasm_exec.js'), join(out, 'vendor/wasm_exec.js'));
cpSync(join(uplot, 'dist/uPlot.esm.js'), join(out, 'vendor/uPlot.js'));
cpSync(join(uplot, 'dist/uPlot.min.css'), join(out, 'vendor/uPlot.css'));
// One style sheet and one wave of requests: what a page of many small files would otherwise wait for.
const sheets = ['base', 'layout', 'card', 'controls', 'gallery', 'stage', 'messages', 'chat', 'examples', 'settings', 'runs', 'mask',
  'explain', 'tour', 'notice'];
writeFileSync(join(out, 'style.css'), sheets.map((name) => readFileSync(join(out, 'css', `${name}.css`), 'utf8')).join('\n'));
rmSync(join(out, 'css'), { recursive: true });
for (const [name, file] of Object.entries(modules)) {
  const text = readFileSync(join(root, 'web/node_modules', file), 'utf8').replace(/\n\/\/# sourceMappingURL.*/, '');
  writeFileSync(join(out, 'vendor', name), // modules name each other as packages, which a browser does not know
    text.replace(/(from|import)\s*"([^"]+)"/g, (_, word, which) => `${word}"${vendored(which)}"`));
}
for (const name of ['train.jsonl', 'heldout.jsonl', 'model']) cpSync(join(root, 'internal/demo', name), join(out, 'demo', name),
  { recursive: true });
const licences = [['qlora-wgpu', join(root, 'LICENSE')], ['Go (engine.wasm, vendor/wasm_exec.js)', join(goroot, 'LICENSE')],
  ['uPlot (vendor/uPlot.js, vendor/uPlot.css)', join(uplot, 'LICENSE')]];
for (const name of ['preact', 'htm', '@preact/signals', '@preact/signals-core']) {
  licences.push([`${name} (in vendor)`, join(root, 'web/node_modules', name, 'LICENSE')]);
}
for (const module of ['github.com/cogentcore/webgpu', 'golang.org/x/text', 'golang.org/x/sync']) {
  licences.push([`${module} (in engine.wasm)`, join(go('list', '-m', '-f', '{{.Dir}}', module), 'LICENSE')]);
}
writeFileSync(join(out, 'licences.txt'),
  licences.map(([name, file]) => `${name}\n${'='.repeat(name.length)}\n\n${readFileSync(file, 'utf8')}\n`).join('\n'));

const sized = ['engine.wasm', ...readdirSync(join(out, 'demo/model')).map((name) => `demo/model/${name}`)];
writeFileSync(join(out, 'sizes.js'), '// Bytes of what the page fetches, unpacked.\n' +
  `export const sizes = ${JSON.stringify(Object.fromEntries(sized.map((name) => [name, statSync(join(out, name)).size])))};\n`);

const scripts = files(out).filter((name) => name.endsWith('.js') && !['main.js', 'worker.js', 'vendor/wasm_exec.js'].includes(name));
const index = readFileSync(join(out, 'index.html'), 'utf8');
writeFileSync(join(out, 'index.html'), index.replace('  <script src="main.js"',
  `${scripts.sort().map((name) => `  <link rel="modulepreload" href="${name}">\n`).join('')}$&`));

// files lists a folder's files with their paths below it.
function files(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile())
    .map((e) => relative(folder, join(e.parentPath ?? e.path, e.name)));
}

const compressed = new Set(['.html', '.css', '.js', '.json', '.jsonl', '.txt', '.svg', '.wasm', '.webmanifest']);
for (const name of files(out)) {
  if (!compressed.has(extname(name))) continue;
  const data = readFileSync(join(out, name));
  writeFileSync(join(out, `${name}.br`),
    brotliCompressSync(data, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: data.length } }));
  writeFileSync(join(out, `${name}.gz`), gzipSync(data, { level: 9 }));
}

// The program holds each file once or, where it compresses, in its two compressed forms.
const built = join(root, 'web/built');
for (const name of readdirSync(built)) if (name !== 'placeholder.txt') rmSync(join(built, name), { recursive: true });
const all = files(out);
for (const name of all) if (!all.includes(`${name}.gz`)) cpSync(join(out, name), join(built, name), { recursive: true });

let failed = false;
for (const [name, limit] of Object.entries(limits)) {
  const { size } = statSync(join(out, name));
  console.log(`${name}: ${(size / 1e6).toFixed(2)} MB of at most ${limit / 1e6}`);
  failed ||= size > limit;
}
process.exitCode = failed ? 1 : 0;
