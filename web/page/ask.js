// After a run: a question to the base model and to the tuned one, and their losses over the examples.
import { $, count, digits, make } from './dom.js';

// wireAsk connects the form. request(op, more) asks the engine, and gives nothing where that failed and was told.
export function wireAsk(request) {
  const compare = async (op, place, more = {}) => {
    const buttons = [...$('ask').querySelectorAll('button')];
    for (const button of buttons) button.disabled = true;
    place.textContent = 'One moment…';
    const found = await request(op, more);
    place.textContent = '';
    for (const button of buttons) button.disabled = false;
    return found;
  };
  $('ask').addEventListener('submit', async (event) => {
    event.preventDefault();
    const prompt = $('ask-text').value.trim();
    const found = prompt && await compare('ask', $('ask-answer'), { Prompt: prompt });
    if (found) $('ask-answer').append(make('dl', {}, make('dt', { text: 'Before' }), make('dd', { text: found.base || '(nothing)' }),
      make('dt', { text: 'Now' }), make('dd', { text: found.tuned || '(nothing)' })));
  });
  $('measure').addEventListener('click', async () => {
    const found = await compare('measure', $('measured'));
    if (!found) return;
    const { base, tuned } = found;
    $('measured').dataset.loss = tuned.eval_loss;
    $('measured').textContent = `${digits(base.eval_loss)} before, ${digits(tuned.eval_loss)} now, over ` +
      `${count(tuned.eval_rows)} examples.`;
  });
}
