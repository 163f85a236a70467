// One answer on its way from the server into a message.
import { RequestError, streamChat } from "./api.js";
import { requestBody, settings } from "./settings.js";

// What the model is told of a conversation. Reasoning is not history.
function history(messages) {
  return messages
    .filter((message) => message.role === "user" || message.content !== "")
    .map(({ role, content }) => ({ role, content }));
}

export class Answer {
  // onChange(answer): something came, or it ended.
  constructor(conversation, onChange) {
    this.conversation = conversation;
    this.message = { role: "assistant", content: "", reasoning: "" };
    this.onChange = onChange;
    this.abort = new AbortController();
    this.pieces = 0;
    this.ended = false;
  }

  stop() {
    this.abort.abort();
  }

  // Tokens per second so far: of pieces, which are tokens nearly always, until the server has counted.
  get speed() {
    return this.pieces > 1 ? (this.pieces - 1) / ((this.lastAt - this.firstAt) / 1000) : null;
  }

  async run() {
    const body = requestBody(history(this.conversation.messages));
    this.conversation.messages.push(this.message);
    this.startedAt = performance.now();
    try {
      for await (const event of streamChat(body, settings.key, this.abort.signal)) this.take(event);
    } catch (error) {
      this.fail(error);
    }
    this.close();
  }

  take(event) {
    const [choice] = event.choices;
    if (event.usage) this.message.tokens = event.usage.completion_tokens;
    if (choice?.finish_reason) this.message.finish = choice.finish_reason;
    const { reasoning_content: reasoning, content } = choice?.delta ?? {};
    if (!reasoning && !content) return;
    this.lastAt = performance.now();
    this.firstAt ??= this.lastAt;
    this.pieces++;
    this.message.reasoning += reasoning ?? "";
    if (content) {
      this.message.thought ??= (this.lastAt - this.firstAt) / 1000;
      this.message.content += content;
    }
    this.onChange(this);
  }

  fail(error) {
    if (error.name === "AbortError") this.message.finish = "stopped";
    else if (error instanceof RequestError) this.message.error = error.message;
    else this.message.error = "The server cannot be reached.";
    this.status = error.status;
  }

  close() {
    const { message } = this;
    if (this.firstAt !== undefined) {
      const tokens = message.tokens ?? this.pieces;
      const time = (this.lastAt - this.firstAt) / 1000;
      message.tokens = tokens;
      message.firstToken = (this.firstAt - this.startedAt) / 1000;
      if (tokens > 1 && time > 0) message.speed = (tokens - 1) / time;
    }
    this.ended = true;
    this.onChange(this);
  }
}
