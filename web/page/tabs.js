// One tab trains at a time: two would write to the same runs. The one that does holds a lock; another may ask it to
// give way, which it does after the step that it is at, and takes the lock from one that does not answer, such as a
// frozen one.
import { absent } from './state.js';
import { signal } from './ui.js';

const name = 'qlora-wgpu';
const between = 500; // ms between two questions
const patience = 5000; // ms without an answer after which the other tab counts as frozen

// How far giving way is: '', asked, or coming where the other tab has answered.
export const turn = signal('');

const me = `${Date.now()} ${Math.random()}`;
let channel = null;
let begin = null; // what the lock was wanted for
let giveWay = null, lose = null;
let release = null; // gives the lock back; null: it is not held
let queued = null; // takes the wish for the lock back
let answered = 0; // when the other tab did last

// alone resolves when this is the only tab that works. end brings everything to a state from which another tab goes on;
// cut is for when that is too late.
export function alone({ end, cut }) {
  giveWay = end;
  lose = cut;
  channel = new BroadcastChannel(name);
  channel.onmessage = ({ data }) => hear(data);
  return new Promise((resolve) => {
    begin = resolve;
    request({ ifAvailable: true });
  });
}

// request asks for the lock. Whoever takes it away later makes the request fail.
function request(options) {
  navigator.locks.request(name, options, (lock) => {
    if (lock) return hold();
    absent.value = 'second';
    queue();
    return undefined;
  }).catch(() => { if (!options.signal?.aborted) taken(); });
}

function queue() {
  const stop = new AbortController();
  queued = () => stop.abort();
  request({ signal: stop.signal });
}

function hold() {
  queued = null;
  turn.value = '';
  // what this tab had open is gone with its engine
  if (absent.value === 'used') location.reload();
  else {
    absent.value = '';
    begin();
  }
  return new Promise((done) => { release = done; });
}

function taken() {
  if (!release) return;
  release = null;
  absent.value = 'used';
  lose();
}

let going = false;

async function hear({ want, coming }) {
  if (coming === me) {
    answered = Date.now();
    turn.value = 'coming';
  }
  if (!want || !release) return;
  channel.postMessage({ coming: want });
  if (going) return;
  going = true;
  await giveWay();
  going = false;
  if (!release) return; // it was taken meanwhile
  absent.value = 'used';
  release();
  release = null;
}

// useHere makes the tab that works give way to this one.
export async function useHere() {
  if (turn.value) return;
  turn.value = 'asked';
  answered = Date.now();
  if (!queued) queue();
  while (turn.value) {
    channel.postMessage({ want: me });
    await new Promise((resolve) => { setTimeout(resolve, between); });
    if (turn.value && Date.now() - answered > patience) takeNow();
  }
}

// takeNow does not wait for the other tab: what it has not saved is lost to it.
export function takeNow() {
  queued?.();
  request({ steal: true });
}
