#pragma once
// OpenAI's /v1/responses, to and from the form of chat completions.

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "server/chat_events.h"
#include "server/chat_request.h"
#include "server/fields.h"

namespace latent8 {

// The chat body that asks the same. Throws: ApiError naming the field of `body` that is wrong, or that asks
// for what this server does not have: conversations that it keeps, tools that it runs, other media than text.
nlohmann::ordered_json chat_body_of_response(const Fields& body);

// The reply as a response, or its events as they come. body: of the request, which replies repeat.
std::unique_ptr<ChatReply> make_response_reply(const Call& call, const ChatRequest& request,
                                               const nlohmann::ordered_json& body);

}  // namespace latent8
