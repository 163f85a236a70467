#include "server/mindie/parameters.h"

#include <nlohmann/json.hpp>

#include "server/api_error.h"

namespace latent8 {
namespace {

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

// What the reference's and OpenAI's bodies have in common.
MindieParameters read_common(const Fields& fields, const ServiceOptions& options) {
  AnswerFields answer = read_answer_fields(fields, options);
  if (answer.n != 1) fields.refuse("n", "1, as the reference has it for this model family,");
  if (!answer.format.form.free())
    throw ApiError{.status = 400,
                   .message = "a form or a thinking budget for the answer: /v1/completions has them, got one",
                   .param = answer.format.grammar_field,
                   .code = ""};
  if (answer.prompt_logprobs >= 0) fields.refuse("prompt_logprobs", "nothing (/v1/completions has them)");
  return {.sampling = std::move(answer.sampling),
          .stop = std::move(answer.stop),
          .keep_special = answer.keep_special};
}

// do_sample decides; without it, whatever says how to draw means that there is drawing.
void read_do_sample(const Fields& fields, SamplingParams& sampling) {
  bool sample = sampling.temperature > 0.0F;
  for (const char* key : {"temperature", "top_k", "top_p"}) sample |= fields.find(key) != nullptr;
  if (fields.find("temperature") != nullptr && sampling.temperature == 0.0F) sample = false;
  sample = fields.boolean("do_sample").value_or(sample);
  if (!sample) sampling.temperature = 0.0F;
  if (sample && sampling.temperature == 0.0F) sampling.temperature = 1.0F;
}

void refuse_what_is_missing(const Fields& fields) {
  if (fields.number("typical_p", 0.0, 1.0).value_or(1.0) < 1.0)
    fields.refuse("typical_p", "1 (there is no typical sampling)");
  if (fields.text("adapter_id").value_or("None") != "None")
    fields.refuse("adapter_id", "nothing (there is no LoRA)");
}

}  // namespace

MindieParameters read_mindie_parameters(const Fields& fields, const ServiceOptions& options) {
  constexpr std::int64_t kDefaultMaxTokens = 20, kLowestPriority = 5, kLongest_s = 65535;
  MindieParameters out = read_common(fields, options);
  refuse_what_is_missing(fields);
  read_do_sample(fields, out.sampling);
  out.sampling.max_tokens = fields.integer("max_new_tokens", 1, kMaxInt32).value_or(kDefaultMaxTokens);
  out.details = fields.boolean("details").value_or(false);
  out.prompt_details = fields.boolean("decoder_input_details").value_or(false);
  out.return_full_text = fields.boolean("return_full_text").value_or(false);
  out.truncate = fields.integer("truncate", 1, kMaxInt32).value_or(0);
  out.priority = static_cast<std::int32_t>(
      kLowestPriority - fields.integer("priority", 1, kLowestPriority).value_or(kLowestPriority));
  out.timeout_s = static_cast<double>(fields.integer("timeout", 1, kLongest_s).value_or(0));
  fields.boolean("watermark");  // its type only
  return out;
}

MindieParameters read_vllm_parameters(const Fields& body, const ServiceOptions& options) {
  constexpr std::int64_t kDefaultMaxTokens = 16;
  MindieParameters out = read_common(body, options);
  if (body.integer("best_of", 1).value_or(1) != 1)
    body.refuse("best_of", "1, as the reference has it for this model family,");
  if (body.boolean("use_beam_search").value_or(false)) body.refuse("use_beam_search", "false");
  for (const char* key : {"logprobs", "top_logprobs"})
    if (const auto* given = body.find(key); given != nullptr && *given != 0 && *given != false)
      body.refuse(key, "nothing (/v1/completions has log-probabilities)");
  if (out.sampling.max_tokens == 0) out.sampling.max_tokens = kDefaultMaxTokens;
  out.keep_stop = body.boolean("include_stop_str_in_output").value_or(false);
  return out;
}

}  // namespace latent8
