// A model of the Hugging Face hub, fetched only when the user asks for it. Nothing but its name is sent.
import { bytes } from './format.js';
import { exclusively, openModel } from './inputs.js';
import { guard } from './messages.js';

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

// downloadHub fetches a model by its name or the address of its page, and opens it.
export async function downloadHub(text) {
  const id = text.trim().replace(`${hub}/`, '');
  const files = await guard('model', () => {
    if (!/^[\w.-]+\/[\w.-]+$/.test(id)) throw failed('A model of the hub is named by its owner and its name.',
      'write it as on its page, such as HuggingFaceTB/SmolLM2-135M-Instruct');
    return exclusively('hub', `Fetching ${id}…`, ({ show, onCancel }) => {
      const stop = new AbortController();
      onCancel(() => stop.abort());
      return download(id, stop.signal, (done, total) => show({ done, total: Math.max(total, done),
        text: `Fetching ${id}: ${bytes(done)} of ${bytes(Math.max(total, done))}…` }));
    });
  }, [{ label: 'Try again', act: () => downloadHub(text) }]);
  if (files) await openModel(files, { kind: 'hub', id });
}
