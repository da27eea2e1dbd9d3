// The page: connects what can be pressed, and opens what was there before.
import { alone, available } from './absence.js';
import { Answers } from './answers.js';
import { wireAsk } from './ask.js';
import { Chart } from './chart.js';
import { Data } from './data.js';
import { $, save, showError } from './dom.js';
import { Engine } from './engine.js';
import { Explain } from './explain.js';
import { onDrop, onPick } from './files.js';
import { allowed, filesOf, kept } from './handles.js';
import { wireHub } from './hub.js';
import { later, openData, openModel } from './inputs.js';
import { guard, page, running, say, setPhase } from './page.js';
import { Progress } from './progress.js';
import { follow, pause, replay, request, restore, startOver, train } from './run.js';
import { Settings } from './settings.js';
import { startTheme } from './theme.js';

startTheme();

function wire() {
  const { engine } = page;
  follow(engine);
  $('start').addEventListener('click', train);
  $('pause').addEventListener('click', () => pause(false));
  $('stop').addEventListener('click', () => pause(true));
  $('fresh').addEventListener('click', startOver);
  $('embedded-model').addEventListener('click', () => openModel());
  $('data-reset').addEventListener('click', () => openData());
  onPick('pick-model', 'file-model', openModel);
  onPick('pick-folder', 'file-folder', openModel);
  wireHub(openModel, (on) => { page.fetching = on; setPhase(page.phase); });
  onPick('pick-data', 'file-data', (files) => openData({ files }));
  onPick('pick-checkpoint', 'file-checkpoint', restore);
  onDrop(() => !running() && page.phase !== 'loading', (kind, files, folder, handles) => {
    if (kind === 'model') openModel(files, folder, handles);
    else if (kind === 'checkpoint') restore(files);
    else openData({ files });
  });
  for (const kind of ['adapter', 'checkpoint']) {
    $(`save-${kind}`).addEventListener('click', async () => {
      const file = await guard('files-error', () => engine.ask(kind));
      if (file) save(file.name, file.bytes);
    });
  }
  wireAsk((op, more) => guard('run-error',
    () => engine.ask(op, { Settings: page.settings.get(), MaxTokens: page.greeting.answer_tokens, ...more })));
}

// openAgain opens the saved run's model from the handles that were kept, at once or where the browser wants it on a
// click.
async function openAgain() {
  const model = await kept();
  if (!model) return;
  const open = async () => openModel(await filesOf(model.handles), model.folder, model.handles);
  const gone = { message: `${page.saved.model} is not where it was.`, hint: 'choose it again' };
  if (await allowed(model.handles, false)) return open().catch(() => showError('model-error', gone));
  $('open-again').textContent = `Open ${page.saved.model} again`;
  $('open-again').hidden = false;
  $('open-again').addEventListener('click', async () => {
    if (await allowed(model.handles, true)) await open().catch(() => showError('model-error', gone));
  });
}

// before tells of the run that was there before.
function before() {
  const { saved } = page;
  if (page.greeting.finished) {
    say(`The last run is done: ${saved.step} steps. Ask it something, and take the adapter with you: training again replaces it.`);
    page.saved = null;
    return;
  }
  const at = `stopped after step ${saved.step} of ${saved.settings.max_steps}.`;
  if (!page.model && saved.model.includes('/')) $('hub-id').value = saved.model;
  say(page.model ? `A run ${at} You can go on with it.` : `A run of ${saved.model} ${at} Choose the same model again to go on with it.`);
}

async function start() {
  if (!(await available())) return;
  await alone();
  page.engine = new Engine();
  $('workbench').hidden = false;
  page.settings = new Settings(later);
  page.chart = new Chart();
  page.progress = new Progress();
  page.explain = new Explain(page.engine);
  page.answers = new Answers(() => {});
  page.data = new Data((name, text, edited) => openData({ name, text, edited }));
  wire();
  try {
    page.greeting = await page.engine.ask('hello');
  } catch (error) {
    showError('run-error', error);
    say('The page cannot train here.');
    return;
  }
  const { adapter, saved, finished, log } = page.greeting;
  $('device').textContent = `${adapter.name}${adapter.type === 'cpu' ? ' (software, slow)' : ''}`;
  $('device').hidden = false;
  page.saved = saved;
  if (saved) {
    page.settings.set(saved.settings);
    page.phase = finished ? 'done' : 'paused';
    page.downloads = true;
    replay(log);
  }
  const phase = page.phase;
  await openData({ kept: Boolean(saved) });
  if (!saved || saved.demo) await openModel();
  else await openAgain();
  if (saved) before();
  setPhase(phase === 'loading' ? 'ready' : phase);
  // what fails now fails again, and is told, at the start
  if (page.preview) page.engine.ask('prepare', request(page.settings.get(), false)).catch(() => {});
}

start();
