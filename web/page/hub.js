// A model of the Hugging Face hub, fetched only when the user asks for it. Nothing but its name is sent.
import { $, bytes, showError } from './dom.js';

const hub = 'https://huggingface.co';

const failed = (message, hint) => Object.assign(new Error(message), { hint });

// ask is a request without cookies or referrer; what goes wrong is told in words.
async function ask(id, path, signal) {
  let response;
  try {
    response = await fetch(`${hub}/${path}`, { credentials: 'omit', referrerPolicy: 'no-referrer', signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw failed('The hub cannot be reached.', 'check the connection to huggingface.co, or open a model folder from this computer');
  }
  if (response.ok) return response;
  const code = response.headers.get('x-error-code');
  if (code === 'GatedRepo' || response.status === 403) throw failed(
    `${id} is gated: the hub gives it only to those who have accepted its terms.`,
    'download it where you are signed in, and open its folder here');
  if (response.status === 401 || response.status === 404) throw failed(`The hub has no public model ${id}.`,
    'write it as on its page, such as HuggingFaceTB/SmolLM2-135M-Instruct');
  throw failed(`The hub answers with status ${response.status}.`, 'try again later');
}

// wanted are the files of a repository that make a model.
function wanted(id, files) {
  const named = (name) => files.filter(({ rfilename }) => rfilename === name);
  const one = named('model.safetensors');
  const weights = one.length ? one : files.filter(({ rfilename }) => /^model-\d+-of-\d+\.safetensors$/.test(rfilename));
  const texts = ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja',
    ...(one.length ? [] : ['model.safetensors.index.json'])].flatMap(named);
  if (!weights.length || !named('config.json').length) throw failed(`${id} holds no model in safetensors.`,
    'choose another repository, or download its GGUF file and open that');
  return [...texts, ...weights];
}

// download gives a model's files, and tells its progress in bytes.
async function download(id, signal, progress) {
  const { sha = 'main', siblings = [] } = await (await ask(id, `api/models/${id}?blobs=true`, signal)).json();
  const list = wanted(id, siblings), files = [];
  const total = list.reduce((sum, { size }) => sum + (size ?? 0), 0);
  let done = 0;
  progress(done, total);
  for (const { rfilename: name } of list) {
    const { body } = await ask(id, `${id}/resolve/${sha}/${name}`, signal);
    const counted = body.pipeThrough(
      new TransformStream({ transform(chunk, out) { done += chunk.length; progress(done, total); out.enqueue(chunk); } }));
    const blob = await new Response(counted).blob().catch((error) => {
      if (error.name === 'AbortError') throw error;
      throw failed(`The connection broke off in ${name}.`, 'try again');
    });
    files.push(new File([blob], name));
  }
  return files;
}

// wireHub connects the form; open(files, name) takes the model, busy is told whether one is on its way.
export function wireHub(open, busy) {
  let stop = null;
  $('hub').addEventListener('submit', async (event) => {
    event.preventDefault();
    if (stop) return stop.abort();
    const id = $('hub-id').value.trim().replace(`${hub}/`, '');
    showError('model-error', null);
    if (!/^[\w.-]+\/[\w.-]+$/.test(id)) return showError('model-error',
      failed('A model of the hub is named by its owner and its name.',
      'write it as on its page, such as HuggingFaceTB/SmolLM2-135M-Instruct'));
    stop = new AbortController();
    $('hub-go').textContent = 'Cancel';
    $('hub-progress').hidden = false;
    busy(true);
    try {
      const files = await download(id, stop.signal, (done, total) => {
        $('hub-bar').max = Math.max(total, done, 1);
        $('hub-bar').value = done;
        $('hub-text').textContent = `${bytes(done)} of ${bytes(Math.max(total, done))}`;
      });
      await open(files, id);
    } catch (error) {
      if (error.name !== 'AbortError') showError('model-error', error);
    } finally {
      stop = null;
      $('hub-go').textContent = 'Download';
      $('hub-progress').hidden = true;
      busy(false);
    }
  });
}
