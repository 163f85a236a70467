// The server's routes. Addresses are relative, so that the page works behind a proxy's path too.

export class RequestError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const authorization = (key) => (key ? { authorization: `Bearer ${key}` } : {});

async function refusal(reply) {
  const text = await reply.text();
  try {
    return new RequestError(JSON.parse(text).error.message, reply.status);
  } catch {
    return new RequestError(`${reply.status} ${reply.statusText}`, reply.status);
  }
}

export async function getJson(path, key, signal) {
  const reply = await fetch(path, { headers: authorization(key), signal });
  if (!reply.ok) throw await refusal(reply);
  return reply.json();
}

// The events of a streamed chat completion. Throws RequestError, or AbortError once the signal fires.
export async function* streamChat(body, key, signal) {
  const reply = await fetch("v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization(key) },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!reply.ok) throw await refusal(reply);
  for await (const data of eventData(reply.body)) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new RequestError(event.error.message, 500);
    yield event;
  }
  throw new RequestError("The connection ended before the answer did.", 0);
}

// The data of server-sent events.
async function* eventData(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  }
}
