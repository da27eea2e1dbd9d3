// How far a run has come, and the figures of its last step.
import { $, bytes, count, digits, duration, make } from './dom.js';

const figures = ['stat-loss', 'stat-accuracy', 'stat-speed', 'stat-memory'];

export class Progress {
  #recent = []; // seconds of the last steps

  // pause forgets how fast steps were: what follows starts anew.
  pause(text = '') {
    this.#recent = [];
    $('left').textContent = text;
  }

  at(step, steps) {
    $('progress').max = steps;
    $('progress').value = step;
  }

  clear() {
    this.pause();
    this.at(0, 1);
    for (const id of figures) $(id).textContent = '–';
  }

  // need tells what a run is planned to take, before it is loaded.
  need(memory, room) { this.#memory('about ', memory, room); }

  #memory(about, taken, whole) {
    $('stat-memory').replaceChildren(make('small', { text: about }), make('span', { text: bytes(taken) }),
      ...(whole ? [make('wbr'), make('small', { text: ` of ${bytes(whole)}` })] : []));
  }

  // step shows a step; plan is what the run has reserved, as far as that is known.
  step(s, plan) {
    this.#recent.push(s.seconds);
    if (this.#recent.length > 20) this.#recent.shift();
    this.at(s.step, s.max_steps);
    const mean = this.#recent.reduce((a, b) => a + b) / this.#recent.length;
    const left = s.step < s.max_steps ? `, about ${duration(mean * (s.max_steps - s.step))} left` : '';
    $('left').textContent = `${s.step} of ${count(s.max_steps)}${left}`;
    $('stat-loss').textContent = s.loss === null ? 'not finite' : digits(s.loss);
    $('stat-accuracy').textContent = `${(100 * s.mean_token_accuracy).toFixed(0)} %`;
    $('stat-speed').textContent = count(s.tokens_per_second);
    this.#memory('', s.device_bytes, plan?.device);
  }
}

// hinted is the computer's memory in GiB as the browser tells it: a power of two, at most 8 in most browsers, which
// then may be any more; 0: it does not.
export const hinted = navigator.deviceMemory ?? 0;

// risky tells before anything is loaded that a run takes most of the memory there is, if it says no more than that it
// may not be there.
export function risky({ peak_device_bytes: needs, rows }, room) {
  const has = room || hinted * 2 ** 30;
  if (!has || needs < 0.6 * has || (room && needs > room)) return null;
  const [largest] = [...rows].sort((a, b) => b.device_bytes - a.device_bytes);
  return {
    message: `This run needs about ${bytes(needs)} of memory, most of it for ${largest.name}; this computer says it has ` +
      `${bytes(has)}${room ? '' : ' or more'}. The browser may close the tab.`,
    hint: 'choose a smaller model, a shorter sequence length or a smaller batch',
  };
}
