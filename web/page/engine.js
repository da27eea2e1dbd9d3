// The engine's side of the page: requests to the worker, replies as promises, events to listeners.

// EngineError is what a request failed with: a message, and where there are such a way out and the input that is wrong.
export class EngineError extends Error {
  constructor({ message, hint, input, paused }) {
    super(message);
    this.hint = hint;
    this.input = input;
    this.paused = paused === true;
  }
}

export class Engine {
  #worker;
  #pending = new Map();
  #next = 1;
  #listeners = [];
  #ready;
  #dead = null;

  constructor() {
    this.#worker = new Worker('worker.js');
    this.#ready = new Promise((resolve) => this.on('ready', resolve));
    this.#worker.onmessage = ({ data }) => this.#receive(typeof data === 'string' ? JSON.parse(data) : data);
    this.#worker.onerror = (event) => this.#receive({ fatal: event.message });
  }

  // on calls listener with every event of a kind.
  on(kind, listener) { this.#listeners.push([kind, listener]); }

  #receive(message) {
    if (message.fatal !== undefined) {
      this.#dead = new EngineError({ message: `The engine broke down: ${message.fatal}`,
        hint: 'Reload the page; a run goes on from its last checkpoint.' });
      for (const { reject } of this.#pending.values()) reject(this.#dead);
      this.#pending.clear();
      this.#tell('fatal', this.#dead);
    } else if (message.event !== undefined) {
      this.#tell(message.event, message);
    } else {
      const { resolve, reject } = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) reject(new EngineError(message.error));
      else resolve(message.bytes ? message : message.result);
    }
  }

  #tell(kind, message) {
    for (const [wanted, listener] of this.#listeners) if (wanted === kind) listener(message);
  }

  // ask sends a request. Files are passed as they are: the engine reads of them what it needs.
  async ask(op, args = {}, files = []) {
    await Promise.race([this.#ready, new Promise((resolve) => this.on('fatal', resolve))]);
    if (this.#dead) throw this.#dead;
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, op, args: JSON.stringify(args), files });
    });
  }
}
