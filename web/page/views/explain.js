// What QLoRA keeps of the weights, what it trains, and what the current step does.
import { engine } from '../engine.js';
import { bytes, count, digits, many } from '../format.js';
import { base, config, curve, latest, model, plan, recorded } from '../state.js';
import { effect, html, signal } from '../ui.js';

const tensor = signal(''), block = signal(0), inspected = signal(null);

// quantized is false for a checkpoint of a run whose base model is kept in 16 bits.
const quantized = () => base.value.quantization !== 'none';

// followBlock asks for the chosen block; a later wish overtakes an earlier one.
export function followBlock() {
  let wish = 0;
  effect(() => {
    const info = model.value, mine = ++wish;
    if (!info) return;
    const name = info.linears.some(({ Name }) => Name === tensor.value) ? tensor.value : info.linears[0].Name;
    engine.ask('inspect', { Tensor: name, Block: block.value, BlockSize: base.value.block_size ?? 64 })
      .then((found) => { if (mine === wish) inspected.value = found; }, () => {});
  });
}

// Levels draws the 16 levels of a block: how often each is used in the whole weight, and where the block's own values
// lie.
function Levels({ codebook, counts, values, absmax }) {
  const width = 320, height = 128, floor = 104, most = Math.max(...counts);
  const x = (v) => 12 + (v + 1) / 2 * (width - 24);
  return html`<svg viewBox=${`0 0 ${width} ${height}`} role="img" aria-label=${`The 16 levels and how often the weight uses each: ` +
    `${counts.map((n, i) => `${codebook[i].toFixed(2)}: ${n}`).join(', ')}`}>
    ${codebook.map((level, i) => {
      const tall = counts[i] / most * 88;
      return html`<rect class="bar" x=${x(level) - 4} y=${floor - tall} width="8" height=${Math.max(tall, 1)} rx="2">
        <title>level ${i} (${level.toFixed(3)}): ${count(counts[i])} weights</title></rect>`;
    })}
    <line class="axis" x1="4" x2=${width - 4} y1=${floor + 1} y2=${floor + 1} />
    ${values.map((v, i) => html`<circle class="dot" cx=${x(absmax ? v / absmax : 0)} cy=${floor + 7 + (i % 3) * 3} r="1.7" />`)}
    ${[-1, 0, 1].map((v) => html`<text class="tick" x=${x(v)} y=${height - 1} text-anchor="middle">
      ${absmax ? digits(v * absmax, 2) : v}</text>`)}
  </svg>`;
}

function Weights() {
  const info = model.value, i = inspected.value;
  const short = (name) => name.replace(/^model\.layers\./, 'layer ').replace(/\.weight$/, '');
  return html`<article>
    <h3>Weights in 16 shades</h3>
    <div id="histogram" class="histogram">${i && html`<${Levels} ...${i} />`}</div>
    <div class="pick">
      <label for="tensor">Weight</label><select id="tensor" value=${tensor.value || info?.linears[0].Name} onChange=${({ target }) => {
        block.value = 0;
        tensor.value = target.value;
      }}>${info?.linears.map(({ Name }) => html`<option value=${Name}>${short(Name)}</option>`)}</select>
      <label for="block">Block</label><input id="block" type="range" min="0" max=${i ? i.blocks - 1 : 0} value=${block.value}
        onInput=${({ target }) => { block.value = Number(target.value); }} />
    </div>
    ${i && html`<p id="block-text">Block <b>${count(i.block + 1)}</b> of ${count(i.blocks)}; move the slider for another. Its
      ${' '}${i.values.length} weights (dots) share the scale <b>${digits(i.absmax)}</b>. Each becomes the nearest of 16 levels, so
      4 bits keep it; the rounding is ${(100 * i.error).toFixed(1)} % of the values. The bars count the levels in the whole
      ${' '}${i.rows} × ${i.cols} weight.</p>`}
  </article>`;
}

function Twice() {
  const i = inspected.value;
  if (!i) return null;
  return html`<article>
    <h3>Quantized twice</h3>
    <div id="double" class="chain">
      <div>${digits(i.absmax, 4)}<small>scale, 32 bits</small></div>→
      <div>${i.absmax_code}<small>code, 8 bits</small></div>→
      <div>${digits(i.stored_absmax, 4)}<small>as used</small></div>
    </div>
    <p id="double-text">The scales are quantized too: 256 of them share one factor (${digits(i.nested)}) around the mean
      ${' '}${digits(i.offset)}. All in all a weight takes <b>${i.bits.toFixed(3)} bits</b> instead of 16.</p>
  </article>`;
}

function Share() {
  const info = model.value, rank = (config.value ?? base.value).lora_r, p = plan.value;
  if (!info || !rank) return null;
  const { linears, parameters } = info;
  const trained = rank * linears.reduce((sum, { Rows, Cols }) => sum + Rows + Cols, 0);
  const parts = p ? [['frozen weights', p.frozen], ['adapter with gradients and moments', p.state], ['activations', p.activations],
    ['rest', Math.max(0, p.device - p.frozen - p.state - p.activations)]] : [['frozen', parameters], ['trained', trained]];
  const total = parts.reduce((sum, [, n]) => sum + n, 0);
  let at = 0;
  return html`<article>
    <h3>Frozen and trained</h3>
    <div id="share" class="share"><svg viewBox="0 0 320 18" preserveAspectRatio="none" role="img"
      aria-label=${parts.map(([name, n]) => `${name} ${(100 * n / total).toFixed(0)} %`).join(', ')}>${parts.map(([, n], i) => {
        const x = at;
        at += n / total * 320;
        return html`<rect class=${`fill c${i}`} x=${x} y="0" width=${Math.max(n / total * 320 - 1.5, 0.5)} height="18" rx="2" />`;
      })}</svg>
      <ul class="key">${parts.map(([name, n], i) => html`<li><i class=${`c${i}`} />${name} ${p ? bytes(n) : many(n)}</li>`)}</ul></div>
    <p id="share-text">${linears.length} weights stay frozen in ${quantized() ? 'NF4' : '16 bits'}. Beside each lie two thin matrices,
      A and B, of rank ${rank}: A squeezes what comes in to ${rank} numbers, B spreads them again, and their product is added to what the
      weight gives. <b>${count(trained)} numbers</b> train, ${(100 * trained / (parameters + trained)).toFixed(2)} % of all.</p>
  </article>`;
}

function Pull() {
  const points = [...curve.value.norms].filter(([, norm]) => norm !== null).sort(([a], [b]) => a - b);
  const s = latest.value, limit = base.value.max_grad_norm, cut = s && limit > 0 && s.grad_norm > limit;
  const most = Math.max(...points.map(([, norm]) => norm)), first = points[0]?.[0], last = points.at(-1)?.[0];
  const line = points.map(([step, norm]) => `${(step - first) / (last - first) * 316 + 2},${74 - norm / most * 68}`).join(' ');
  return html`<article>
    <h3>The pull on the adapter</h3>
    <div id="norms" class="norms">${points.length > 1 && html`<svg viewBox="0 0 320 78" role="img"
      aria-label=${`Gradient norm from ${digits(points[0][1])} at step ${first} to ${digits(points.at(-1)[1])} at step ${last}`}>
      <line class="axis" x1="0" x2="320" y1="76" y2="76" /><polyline class="line" points=${line} /></svg>`}</div>
    <p id="norms-text">${s ? html`The gradient of all A and B together has the norm <b>${digits(s.grad_norm)}</b>${cut
      ? `; it was cut to ${limit}, so that one odd batch cannot tear at the adapter.` : ', below the limit at which it is cut.'}`
      : 'The gradient’s norm says how strongly a batch pulls at the adapter. It is shown from the first step on.'}</p>
  </article>`;
}

export function ExplainCard() {
  const s = latest.value, frozen = quantized() ? '4-bit weights' : '16-bit weights';
  return html`<section class="card" aria-labelledby="explain-title">
    <h2 id="explain-title">What QLoRA is doing right now</h2>
    <p id="explain-now" class="explain-now">${s?.target_tokens ? `Step ${s.step}: the frozen ${frozen} carried a batch forwards, ` +
      `${count(s.target_tokens)} answer tokens gave a loss of ${digits(s.loss)}; the error went back through the same ${frozen}, and ` +
      (s.learning_rate === 0 ? 'A and B will move from the next step on: the learning rate begins at 0.'
        : `only A and B moved, at a learning rate of ${digits(s.learning_rate, 2)}.`)
      : recorded.value ? 'A recorded run is shown. Start your own to see here what each step does.' : 'Waiting for you to start.'}</p>
    <div class="explain"><${Share} /><${Weights} /><${Twice} /><${Pull} /></div>
  </section>`;
}
