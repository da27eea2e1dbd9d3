// The loss of every step, a running median, the loss of the rows that were held back, and other runs beside.
import uPlot from '../vendor/uPlot.js';
import { digits } from '../format.js';
import { compared, curve, run } from '../state.js';
import { colour, theme } from '../theme.js';
import { html, useEffect, useRef } from '../ui.js';

// medians of the steps around each one, as far as there are any.
function medians(losses, reach) {
  return losses.map((_, i) => {
    const near = losses.slice(Math.max(0, i - reach), i + reach + 1).filter((loss) => loss !== null).sort((a, b) => a - b);
    return near.length ? (near[(near.length - 1) >> 1] + near[near.length >> 1]) / 2 : null;
  });
}

const beside = () => [...compared.value].filter(([id]) => id !== run.value.id).map(([, other]) => other);

function lines() {
  const { steps, evals, max } = curve.value, others = beside();
  const at = [...new Set([steps, evals, ...others.map(({ losses }) => losses)].flatMap((each) => [...each.keys()]))].sort((a, b) => a - b);
  const of = (values) => at.map((step) => values.get(step) ?? null);
  const known = at.filter((step) => steps.has(step));
  const middle = medians(known.map((step) => steps.get(step)), Math.max(2, Math.round(max / 30)));
  const smooth = new Map(middle.map((loss, i) => [known[i], loss]));
  return [at, of(steps), of(smooth), of(evals), ...others.map(({ losses }) => of(losses))];
}

const range = { x: () => Math.max(1, curve.value.max, ...beside().map(({ max }) => max)) };

function make(place) {
  const font = '12px system-ui, sans-serif';
  const axis = { stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false }, font, labelFont: font,
    labelSize: 18, labelGap: 0 };
  const line = (label, stroke, more) => ({ label, stroke, points: { show: false }, value: (_, value) => digits(value), ...more });
  const alone = { size: 6, fill: colour('card'), show: () => curve.value.steps.size === 1 }; // one step makes no line yet
  const accent = colour('accent');
  const plot = new uPlot({
    width: Math.max(200, place.clientWidth), height: 250, padding: [12, 12, 0, 0], cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: false, range: () => [0, range.x()] },
      y: { range: (_, low, high) => (low === null ? [0, 1] : [Math.min(0, low), high * 1.05 || 1]) } },
    axes: [{ ...axis, label: 'step', grid: { show: false }, space: 60,
      incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] }, { ...axis, label: 'loss', size: 44 }],
    series: [{ label: 'step', value: (_, step) => step ?? '–' }, line('loss', accent, { width: 2, points: alone }),
      line('median', `${accent}80`, { width: 1 }),
      line('held back', colour('warm'), { width: 2, spanGaps: true, points: { size: 6, fill: colour('card') } }),
      ...beside().map(({ name }, i) => line(name, colour(['good', 'muted', 'bad'][i]), { width: 1.5, dash: [6, 4] }))],
  }, lines(), place);
  plot.root.setAttribute('aria-hidden', 'true'); // the caption says it
  return plot;
}

// caption says in words what the lines show, overfitting among it.
function caption({ steps, evals }) {
  const list = [...steps].sort(([a], [b]) => a - b), held = [...evals].sort(([a], [b]) => a - b);
  const [first, last] = [list[0], list.at(-1)];
  if (!first) return 'Losses of the runs that are compared, after each step.';
  const text = `Loss after each step, ${list.length > 1 ? 'from ' : ''}${digits(first[1])} at step ${first[0]}` +
    `${list.length > 1 ? ` to ${digits(last[1])} at step ${last[0]}` : ''}: the lower, the better the model predicts your answers.`;
  if (!held.length) return text;
  const best = held.reduce((least, each) => (each[1] < least[1] ? each : least)), newest = held.at(-1);
  const over = `, worse than the ${digits(best[1])} of step ${best[0]}: it has begun to learn the examples by heart.`;
  return `${text} On the examples held back: ${digits(newest[1])}${newest[1] > best[1] * 1.02 ? over : '.'}`;
}

export function Curve() {
  const place = useRef(null), plot = useRef(null);
  const there = curve.value.steps.size > 0 || beside().length > 0, key = `${theme.value} ${run.value.id} ${[...compared.value.keys()]}`;
  useEffect(() => {
    if (!there) return undefined;
    plot.current = make(place.current);
    const watch = new ResizeObserver(([{ contentRect }]) => plot.current.setSize({ width: Math.max(200, contentRect.width), height: 250 }));
    watch.observe(place.current);
    return () => { watch.disconnect(); plot.current.destroy(); plot.current = null; };
  }, [there, key]);
  useEffect(() => {
    const frame = requestAnimationFrame(() => plot.current?.setData(lines()));
    return () => cancelAnimationFrame(frame);
  }, [curve.value]);
  if (!there) return null;
  return html`<section class="card" aria-label="Loss">
    <figure class="chart"><div id="chart" ref=${place} />
      <figcaption id="chart-text" class="muted">${caption(curve.value)}</figcaption></figure>
  </section>`;
}
