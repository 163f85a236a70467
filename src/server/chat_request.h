#pragma once
// A chat request on its way to the engine. OpenAI's chat body is the form that requests of the other chat
// APIs are translated to.

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "server/answer_fields.h"
#include "server/chat_events.h"
#include "server/fields.h"
#include "server/service.h"

namespace latent8 {

struct ChatRequest {
  AnswerFields fields;
  Prompt prompt;
  ToolOptions tools;
  bool logprobs = false;
};

// What the model reads of a body's messages, tools and chat_template_kwargs. Throws: ApiError naming the
// field; Error as Frontend::chat_prompt.
Prompt chat_prompt(Service& service, const Fields& body);

// Throws: as chat_prompt.
ChatRequest read_chat_request(Service& service, const nlohmann::ordered_json& body);

// Answers. Throws: as Generation::start; the reply has been told nothing then.
void answer_chat(const Call& call, ChatRequest request, std::unique_ptr<ChatReply> reply);

}  // namespace latent8
