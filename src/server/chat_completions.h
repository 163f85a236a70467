#pragma once
// The reply of /v1/chat/completions.

#include <memory>

#include "server/chat_events.h"
#include "server/chat_request.h"

namespace latent8 {

// A chat completion, or its chunks as they come.
std::unique_ptr<ChatReply> make_chat_reply(const Call& call, const ChatRequest& request);

}  // namespace latent8
