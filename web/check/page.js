// Starts the worker and shows its messages, one line each. tools/web_test reads globalThis.messages.
globalThis.messages = [];

function show(message) {
  messages.push(message);
  const { kind, name, ok, seconds, detail } = message;
  const verdict = ok ? 'ok  ' : 'FAIL';
  document.getElementById('log').append(`${verdict} ${kind} ${name} (${seconds.toFixed(2)} s) ${detail}\n`);
}

const worker = new Worker('worker.js' + location.search);
worker.onmessage = (event) => show(JSON.parse(event.data));
worker.onerror = (event) => show({ kind: 'fatal', name: 'worker', ok: false, seconds: 0, detail: event.message });
