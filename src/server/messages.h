#pragma once
// Anthropic's /v1/messages, to and from the form of chat completions.

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "server/chat_events.h"
#include "server/chat_request.h"
#include "server/fields.h"

namespace latent8 {

// The chat body that asks the same. Throws: ApiError naming the field of `body` that is wrong, or that asks
// for what this server does not have.
nlohmann::ordered_json chat_body_of_messages(const Fields& body);

// The reply as a message, or its events as they come.
std::unique_ptr<ChatReply> make_message_reply(const Call& call, const ChatRequest& request);

}  // namespace latent8
