// Runs the engine. Everything that ends it early is told to the page as {fatal}.
importScripts('vendor/wasm_exec.js');

const fatal = (detail) => postMessage(JSON.stringify({ fatal: String(detail) }));
const lines = []; // the last that the engine wrote to its console

async function run() {
  const go = new Go();
  const log = console.log;
  console.log = (...args) => {
    lines.push(args.join(' '));
    if (lines.length > 40) lines.shift();
    log(...args);
  };
  go.exit = (code) => fatal(`the engine stopped with status ${code}. ${lines.join('\n')}`);
  const { instance } = await WebAssembly.instantiateStreaming(fetch('engine.wasm'), go.importObject);
  await go.run(instance);
}

run().catch(fatal);
