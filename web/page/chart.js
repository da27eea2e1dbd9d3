// The loss of every step, and its moving mean.
import uPlot from './vendor/uPlot.js';
import { $, digits } from './dom.js';
import { colour, onTheme } from './theme.js';

export class Chart {
  #losses = new Map(); // by step: steps come again after a lost device
  #steps = 1;
  #plot = null;
  #frame = 0;

  constructor() {
    onTheme(() => this.#make());
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe($('chart'));
    this.#make();
  }

  clear(steps, after = 0) {
    for (const step of this.#losses.keys()) if (step > after) this.#losses.delete(step);
    this.#steps = steps;
    this.#draw();
  }

  add({ step, max_steps, loss }) {
    this.#losses.set(step, loss);
    this.#steps = max_steps;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #size() { return { width: Math.max(200, $('chart').clientWidth), height: 240 }; }

  #data() {
    const steps = [...this.#losses.keys()].sort((a, b) => a - b);
    const losses = steps.map((step) => this.#losses.get(step));
    const part = 1 / (1 + this.#steps / 15); // of the newest loss: a long run is smoothed more
    let mean = null;
    const smooth = losses.map((loss) => (loss === null ? mean : (mean = mean === null ? loss : mean + part * (loss - mean))));
    return [steps, losses, smooth];
  }

  #draw() {
    this.#frame = 0;
    const [steps, losses, smooth] = this.#data();
    this.#plot.setData([steps, losses, smooth]);
    const first = losses[0], last = smooth.at(-1);
    $('chart-text').textContent = steps.length < 2
      ? 'The loss of every step appears here: the lower, the better the model predicts your answers.'
      : `Loss after each step, from ${digits(first)} at step ${steps[0]} to about ${digits(last)} at step ${steps.at(-1)}. The thick ` +
        `line is the moving mean.`;
  }

  #make() {
    this.#plot?.destroy();
    const values = (_, splits) => splits.map((v) => (this.#losses.size ? String(Number(v.toPrecision(6))) : ''));
    const axis = { values, stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false },
      font: '12px system-ui, sans-serif' };
    const accent = colour('accent');
    this.#plot = new uPlot({
      ...this.#size(), legend: { show: false }, cursor: { y: false, points: { size: 7 } }, padding: [12, 12, 0, 0],
      scales: { x: { time: false, range: () => [0, Math.max(1, this.#steps)] },
        y: { range: (_, low, high) => (low === null ? [0, 1] : [Math.min(0, low), high * 1.05 || 1]) } },
      axes: [{ ...axis, grid: { show: false }, space: 60, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
        { ...axis, size: 44 }],
      series: [{}, { stroke: accent, width: 1, alpha: 0.45, points: { show: false } },
        { stroke: accent, width: 2.5, points: { show: false } }],
    }, this.#data(), $('chart'));
    this.#plot.root.setAttribute('aria-hidden', 'true'); // the caption says it
  }
}
