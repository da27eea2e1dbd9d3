// Runs the engine. Everything that ends it early is told to the page as {fatal}; the bytes that have come, as
// {arrived}.
importScripts('vendor/wasm_exec.js');

const fatal = (detail) => postMessage(JSON.stringify({ fatal: String(detail) }));
const lines = []; // the last that the engine wrote to its console

// counted tells how much of the engine has come.
function counted(response) {
  let done = 0;
  const body = response.body.pipeThrough(new TransformStream({ transform(chunk, out) {
    done += chunk.length;
    postMessage(JSON.stringify({ arrived: done }));
    out.enqueue(chunk);
  } }));
  return new Response(body, { headers: { 'content-type': 'application/wasm' } });
}

async function run() {
  const go = new Go();
  const log = console.log;
  console.log = (...args) => {
    lines.push(args.join(' '));
    if (lines.length > 40) lines.shift();
    log(...args);
  };
  go.exit = (code) => fatal(`the engine stopped with status ${code}. ${lines.join('\n')}`);
  const response = await fetch('engine.wasm').catch(({ message }) => { throw new Error(`engine.wasm did not arrive: ${message}`); });
  if (!response.ok) throw new Error(`engine.wasm did not arrive: status ${response.status}`);
  const { instance } = await WebAssembly.instantiateStreaming(counted(response), go.importObject);
  await go.run(instance);
}

// Of several tabs, the engine that began last is the only one, even where the page of another does not hear that it has
// lost its turn: two would write to the same runs.
navigator.locks.request('qlora-wgpu engine', { steal: true }, () => new Promise(() => {})).catch(() => close());

run().catch(fatal);
