// What QLoRA keeps of the weights, what it trains, and what the current step does.
import { $, bytes, count, digits, make, many } from './dom.js';

// bars draws the 16 levels of a block: how often each is used in the whole weight, and where the block's own values
// lie.
function bars({ codebook, counts, values, absmax }) {
  const width = 320, height = 128, base = 104;
  const x = (v) => 12 + (v + 1) / 2 * (width - 24);
  const most = Math.max(...counts);
  const svg = make('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img',
    'aria-label': `The 16 levels and how often the weight uses each: ` +
    `${counts.map((n, i) => `${codebook[i].toFixed(2)}: ${n}`).join(', ')}` });
  for (const [i, level] of codebook.entries()) {
    const tall = counts[i] / most * 88;
    svg.append(make('rect', { class: 'bar', x: x(level) - 4, y: base - tall, width: 8, height: Math.max(tall, 1), rx: 2 },
      make('title', { text: `level ${i} (${level.toFixed(3)}): ${count(counts[i])} weights` })));
  }
  svg.append(make('line', { class: 'axis', x1: 4, x2: width - 4, y1: base + 1, y2: base + 1 }));
  for (const [i, v] of values.entries()) svg.append(make('circle',
    { class: 'dot', cx: x(absmax ? v / absmax : 0), cy: base + 7 + (i % 3) * 3, r: 1.7 }));
  for (const v of [-1, 0, 1]) svg.append(make('text',
    { class: 'tick', x: x(v), y: height - 1, 'text-anchor': 'middle', text: absmax ? digits(v * absmax, 2) : v }));
  return svg;
}

// quantized is false for a checkpoint of a run whose base model is kept in 16 bits.
const quantized = (config) => config.quantization !== 'none';

export class Explain {
  #engine;
  #model = null;
  #blockSize = 64;
  #norms = new Map();
  #asking = 0;

  constructor(engine) {
    this.#engine = engine;
    $('tensor').addEventListener('change', () => { $('block').value = 0; this.inspect(); });
    $('block').addEventListener('input', () => this.inspect());
  }

  model(info) {
    this.#model = info;
    $('tensor').replaceChildren(...info.linears.map(({ Name }) =>
      make('option', { value: Name, text: Name.replace(/^model\.layers\./, 'layer ').replace(/\.weight$/, '') })));
    $('block').value = 0;
    return this.inspect();
  }

  // inspect asks for the chosen block; a later wish overtakes an earlier one.
  async inspect() {
    const mine = ++this.#asking;
    const tensor = $('tensor').value;
    if (!tensor) return;
    let i;
    try {
      i = await this.#engine.ask('inspect', { Tensor: tensor, Block: Number($('block').value), BlockSize: this.#blockSize });
    } catch (error) {
      $('block-text').textContent = error.message;
      return;
    }
    if (mine !== this.#asking) return;
    $('block').max = i.blocks - 1;
    $('histogram').replaceChildren(bars(i));
    $('block-text').replaceChildren('Block ', make('b', { text: count(i.block + 1) }),
      ` of ${count(i.blocks)}: ${i.values.length} weights (dots) share the scale `, make('b', { text: digits(i.absmax) }),
      `. Each becomes the nearest of 16 levels, so 4 bits keep it; the rounding is ${(100 * i.error).toFixed(1)} % of the values. The ` +
        `bars count the levels in the whole ${i.rows} × ${i.cols} weight.`);
    const box = (value, text) => make('div', { text: value }, make('small', { text }));
    $('double').replaceChildren(make('div', { class: 'chain' }, box(digits(i.absmax, 4), 'scale, 32 bits'), '→',
      box(String(i.absmax_code), 'code, 8 bits'), '→', box(digits(i.stored_absmax, 4), 'as used')));
    $('double-text').replaceChildren(
      `The scales are quantized too: 256 of them share one factor (${digits(i.nested)}) around the mean ${digits(i.offset)}. All in all ` +
      `a weight takes `, make('b', { text: `${i.bits.toFixed(3)} bits` }), ' instead of 16.');
  }

  // share shows what trains at this rank, and once there is a plan, where the memory goes.
  share(config, plan) {
    const { linears, parameters } = this.#model;
    const trained = config.lora_r * linears.reduce((sum, { Rows, Cols }) => sum + Rows + Cols, 0);
    const parts = plan
      ? [['frozen weights', plan.frozen], ['adapter with gradients and moments', plan.state], ['activations', plan.activations],
        ['rest', Math.max(0, plan.device - plan.frozen - plan.state - plan.activations)]]
      : [['frozen', parameters], ['trained', trained]];
    const total = parts.reduce((sum, [, n]) => sum + n, 0);
    const stack = make('svg', { viewBox: '0 0 320 18', preserveAspectRatio: 'none', role: 'img',
      'aria-label': parts.map(([name, n]) => `${name} ${(100 * n / total).toFixed(0)} %`).join(', ') });
    let at = 0;
    for (const [i, [, n]] of parts.entries()) {
      stack.append(make('rect', { class: `fill c${i}`, x: at, y: 0, width: Math.max(n / total * 320 - 1.5, 0.5), height: 18, rx: 2 }));
      at += n / total * 320;
    }
    $('share').replaceChildren(stack,
      make('ul', { class: 'key' }, ...parts.map(([name, n], i) =>
      make('li', {}, make('i', { class: `c${i}` }), `${name} ${plan ? bytes(n) : many(n)}`))));
    $('share-text').replaceChildren(
      `${linears.length} weights stay frozen in ${quantized(config) ? 'NF4' : '16 bits'}. `,
      `Beside each lie two thin matrices A and B of rank ${config.lora_r}: `,
      make('b', { text: `${count(trained)} numbers` }),
      ` train, ${(100 * trained / (parameters + trained)).toFixed(2)} % of all.`);
    this.#blockSize = config.block_size;
  }

  clear(after = 0) {
    for (const step of this.#norms.keys()) if (step > after) this.#norms.delete(step);
    this.#draw();
  }

  step(stats, config) {
    this.#norms.set(stats.step, stats.grad_norm);
    const clipped = config.max_grad_norm > 0 && stats.grad_norm > config.max_grad_norm;
    const frozen = quantized(config) ? '4-bit weights' : '16-bit weights';
    $('explain-now').textContent = `Step ${stats.step}: the frozen ${frozen} carried a batch forwards, ${count(stats.target_tokens)} ` +
      `answer tokens gave a loss of ${digits(stats.loss)}; the error went back through the same ${frozen}, `
      + `and only A and B moved, at a learning rate of ${digits(stats.learning_rate, 2)}.`;
    $('norms-text').replaceChildren('The gradient of all A and B together has the norm ', make('b', { text: digits(stats.grad_norm) }),
      clipped
        ? `; it was cut to ${config.max_grad_norm}, so that one odd batch cannot tear at the adapter.`
        : ', below the limit at which it is cut.');
    this.#draw();
  }

  #draw() {
    const points = [...this.#norms].filter(([, norm]) => norm !== null).sort(([a], [b]) => a - b);
    if (points.length < 2) return $('norms').replaceChildren();
    const most = Math.max(...points.map(([, norm]) => norm)), first = points[0][0], last = points.at(-1)[0];
    const line = points.map(([step, norm]) => `${(step - first) / (last - first) * 316 + 2},${74 - norm / most * 68}`).join(' ');
    $('norms').replaceChildren(make('svg',
      { viewBox: '0 0 320 78', role: 'img',
      'aria-label': `Gradient norm from ${digits(points[0][1])} at step ${first} to ${digits(points.at(-1)[1])} at step ${last}` },
      make('line', { class: 'axis', x1: 0, x2: 320, y1: 76, y2: 76 }), make('polyline', { class: 'line', points: line })));
  }
}
