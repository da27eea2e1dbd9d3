// The engine's side of the page: requests to the worker, replies as promises, events to listeners.
import { sizes } from './sizes.js';
import { arriving } from './state.js';

// EngineError is what a request failed with: a message, and where there are such a way out and the input that is wrong.
export class EngineError extends Error {
  constructor({ message, hint, input, cancelled, ...rest }) {
    super(message);
    Object.assign(this, rest, { hint, input, cancelled: cancelled === true });
  }
}

const atOnce = ['inspect', 'alive', 'adapter', 'checkpoint']; // operations that wait for no other

export class Engine {
  #worker = null;
  #pending = new Map();
  #next = 1;
  #listeners = [];
  #ready;
  #dead = null;
  #background = null; // a request that makes way for every other one
  #isReady;

  constructor() { this.#wait(); }

  #wait() {
    this.#dead = null;
    this.#ready = new Promise((resolve) => { this.#isReady = resolve; });
  }

  // begin fetches and starts the engine. What is asked before is answered then.
  begin() {
    this.#worker = new Worker('worker.js');
    this.#worker.onmessage = ({ data }) => this.#receive(typeof data === 'string' ? JSON.parse(data) : data);
    this.#worker.onerror = (event) => this.#receive({ fatal: event.message ?? 'it did not arrive' });
  }

  // restart begins anew with another worker. What the old one had opened is gone.
  restart() {
    this.end();
    this.#wait();
    this.begin();
  }

  // end gives the device and all memory back.
  end() {
    this.#worker?.terminate();
    this.#fail(new EngineError({ message: 'The engine was ended.', cancelled: true }));
  }

  // on calls listener with every event of a kind.
  on(kind, listener) { this.#listeners.push([kind, listener]); }

  #receive(message) {
    if (message.arrived !== undefined) {
      arriving.value = { ...arriving.value, 'engine.wasm': [message.arrived, Math.max(message.arrived, sizes['engine.wasm'])] };
    } else if (message.fatal !== undefined) {
      this.#fail(new EngineError({ message: `The engine broke down: ${message.fatal}`,
        hint: 'start it again; a run goes on from its last checkpoint', broken: true }));
      this.#tell('fatal', this.#dead);
    } else if (message.event !== undefined) {
      if (message.event === 'ready') this.#started();
      this.#tell(message.event, message);
      this.#pending.get(message.id)?.told?.(message);
    } else {
      const { resolve, reject } = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) reject(new EngineError(message.error));
      else resolve('name' in message ? message : message.result); // it carries a file
    }
  }

  #started() {
    const { 'engine.wasm': _, ...rest } = arriving.value;
    arriving.value = rest;
    this.#isReady();
  }

  #fail(error) {
    this.#dead = error;
    this.#isReady();
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #tell(kind, message) {
    for (const [wanted, listener] of this.#listeners) if (wanted === kind) listener(message);
  }

  // ask sends a request and gives a promise that can be taken back by its cancel: it then fails with an error that is
  // cancelled. Files are passed as they are: the engine reads of them what it needs, and writes to the handle to. told
  // gets the request's events.
  ask(op, args = {}, { files = [], to, told, background = false } = {}) {
    const id = this.#next++;
    let cancelled = false;
    if (!background && !atOnce.includes(op)) this.#background?.cancel();
    const promise = this.#ready.then(() => {
      if (this.#dead) throw this.#dead;
      if (cancelled) throw new EngineError({ message: 'cancelled', cancelled: true });
      return new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject, told });
        this.#worker.postMessage({ id, op, args: JSON.stringify(args), files, to });
      });
    });
    promise.cancel = () => {
      cancelled = true;
      if (this.#pending.has(id)) this.#worker.postMessage({ id, op: 'cancel' });
    };
    if (background) {
      this.#background = promise;
      promise.catch(() => {}).finally(() => { if (this.#background === promise) this.#background = null; });
    }
    return promise;
  }
}

export const engine = new Engine();
