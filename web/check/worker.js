// Runs check.wasm; it posts its results itself. Anything that ends it early is posted as a fatal message.
importScripts('wasm_exec.js');

function fatal(name, detail) {
  postMessage(JSON.stringify({ kind: 'fatal', name, ok: false, seconds: 0, detail }));
}

async function run() {
  const go = new Go();
  go.argv = ['check', decodeURIComponent(location.search.slice(1))];
  go.exit = (code) => { if (code !== 0) fatal('program', `exit status ${code}; the console has its output`); };
  const { instance } = await WebAssembly.instantiateStreaming(fetch('check.wasm'), go.importObject);
  await go.run(instance);
}

run().catch((err) => fatal('loader', String(err)));
