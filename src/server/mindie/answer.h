#pragma once
// One answer in one of the forms that the reference's own routes have.

#include <chrono>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "server/generation.h"
#include "server/mindie/parameters.h"

namespace latent8 {

// What a reply is made of.
struct MindieAnswer {
  std::string id, model;
  MindieParameters parameters;
  Prompt prompt;
  std::string output_name;  // of Triton's token route
  std::string text;         // so far; the prompt too where return_full_text asks for it
  std::vector<std::int32_t> ids;
  TextFinish finish;
  std::string reason;  // "eos_token", "length", "stop_sequence"; "" until it has ended
};

// A token with the text that came with it: an event of a stream.
struct MindiePiece {
  std::int32_t id = -1;
  std::string text;
  bool first = false, last = false;
  std::int64_t time_ms = 0;  // since the token before it, or since the request came
};

struct MindieForm {
  nlohmann::ordered_json (*whole)(const MindieAnswer& answer);
  std::string (*event)(const MindieAnswer& answer, const MindiePiece& piece);  // nullptr: it has no stream
};

struct MindieRequest {
  MindieAnswer answer;  // without what comes
  const MindieForm* form = nullptr;
  bool stream = false;
  std::string user_id;  // by which stopInfer finds it; "" for none
};

// With the ids of the call and the model that is served.
MindieRequest new_mindie_request(const Call& call, const MindieForm& form, bool stream);

// Throws: ApiError as Service::limit() and queue_tokens(), Error as Engine::submit().
void start_mindie_answer(const Call& call, MindieRequest request);

}  // namespace latent8
