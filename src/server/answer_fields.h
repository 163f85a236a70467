#pragma once
// The fields of a body that say how an answer is made, alike in every OpenAI route.

#include <cstdint>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "server/answer_format.h"
#include "server/fields.h"

namespace latent8 {

struct ServiceOptions;

struct AnswerFields {
  SamplingParams sampling;
  std::vector<std::string> stop;
  std::int64_t n = 1;
  bool stream = false;
  bool include_usage = false;  // stream_options: one more event with the usage
  bool keep_special = false;   // skip_special_tokens is false
  bool no_answer = false;      // max_tokens is 0: one token is computed and told nobody
  std::int32_t prompt_logprobs = -1;
  AnswerFormat format;
};

// temperature, top_p, top_k, min_p, the penalties, logit_bias, min_tokens, seed, n, stop, stop_token_ids,
// max_tokens (of least_max_tokens or more), max_completion_tokens, ignore_eos, prompt_logprobs, stream,
// stream_options, skip_special_tokens, and those of read_answer_format. A body without a seed gets a random
// one. Throws: ApiError naming the field.
AnswerFields read_answer_fields(const Fields& body, const ServiceOptions& options,
                                std::int64_t least_max_tokens = 1);

}  // namespace latent8
