// The loss of every step, a running median, and the loss of the rows that were held back.
import uPlot from '../vendor/uPlot.js';
import { digits } from '../format.js';
import { curve } from '../state.js';
import { colour, theme } from '../theme.js';
import { html, useEffect, useRef } from '../ui.js';

// median of the steps around each one, as far as there are any.
function medians(losses, reach) {
  return losses.map((_, i) => {
    const near = losses.slice(Math.max(0, i - reach), i + reach + 1).filter((loss) => loss !== null).sort((a, b) => a - b);
    return near.length ? (near[(near.length - 1) >> 1] + near[near.length >> 1]) / 2 : null;
  });
}

function lines({ steps, evals, max }) {
  const at = [...new Set([...steps.keys(), ...evals.keys()])].sort((a, b) => a - b);
  const losses = at.map((step) => steps.get(step) ?? null);
  return [at, losses, medians(losses, Math.max(2, Math.round(max / 30))), at.map((step) => evals.get(step) ?? null)];
}

function make(place) {
  const axis = { stroke: colour('muted'), grid: { stroke: colour('line'), width: 1 }, ticks: { show: false },
    font: '12px system-ui, sans-serif', labelFont: '12px system-ui, sans-serif', labelSize: 18, labelGap: 0 };
  const max = () => Math.max(1, curve.value.max);
  const shown = (_, value) => digits(value);
  const plot = new uPlot({
    width: Math.max(200, place.clientWidth), height: 240, padding: [12, 12, 0, 0], cursor: { y: false, points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: false, range: () => [0, max()] },
      y: { range: (_, low, high) => (low === null ? [0, 1] : [Math.min(0, low), high * 1.05 || 1]) } },
    axes: [{ ...axis, label: 'step', grid: { show: false }, space: 60, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
      { ...axis, label: 'loss', size: 44 }],
    series: [{ label: 'step' },
      { label: 'loss', stroke: colour('accent'), width: 2, points: { show: false }, value: shown },
      { label: 'median', stroke: colour('accent'), width: 1, alpha: 0.5, points: { show: false }, value: shown },
      { label: 'held back', stroke: colour('warm'), width: 2, spanGaps: true, points: { size: 6 }, value: shown }],
  }, lines(curve.value), place);
  plot.root.setAttribute('aria-hidden', 'true'); // the caption says it
  return plot;
}

function caption({ steps, evals }) {
  const list = [...steps].sort(([a], [b]) => a - b), held = [...evals].sort(([a], [b]) => a - b);
  if (!list.length) return '';
  const text = `Loss after each step, from ${digits(list[0][1])} at step ${list[0][0]} to ${digits(list.at(-1)[1])} at step ${list.at(-1)[0]}.`;
  const best = held.reduce((least, each) => (each[1] < least[1] ? each : least), held[0]);
  if (!held.length) return text;
  const over = held.at(-1)[1] > best[1] * 1.02;
  return `${text} On the examples held back: ${digits(held.at(-1)[1])}${over ? `, worse than the ${digits(best[1])} of step ${best[0]}: it begins ` +
    'to learn the examples by heart' : ''}.`;
}

export function Curve() {
  const place = useRef(null), plot = useRef(null);
  const there = curve.value.steps.size > 0, colours = theme.value;
  useEffect(() => {
    if (!there) return undefined;
    plot.current = make(place.current);
    const watch = new ResizeObserver(([{ contentRect }]) => plot.current.setSize({ width: Math.max(200, contentRect.width), height: 240 }));
    watch.observe(place.current);
    return () => { watch.disconnect(); plot.current.destroy(); plot.current = null; };
  }, [there, colours]);
  useEffect(() => { plot.current?.setData(lines(curve.value)); }, [curve.value]);
  if (!there) return null;
  return html`<section class="card" aria-label="Loss">
    <figure class="chart"><div id="chart" ref=${place} /><figcaption id="chart-text" class="muted">${caption(curve.value)}</figcaption></figure>
  </section>`;
}
