#pragma once
// How the reference's own routes ask for an answer.

#include <cstdint>
#include <string>
#include <vector>

#include "server/answer_fields.h"
#include "server/fields.h"
#include "server/service.h"

namespace latent8 {

struct MindieParameters {
  SamplingParams sampling;
  std::vector<std::string> stop;
  bool keep_special = false;
  bool details = false;
  bool prompt_details = false;    // decoder_input_details: the prompt's tokens too
  bool return_full_text = false;  // the prompt before the answer
  bool keep_stop = false;         // include_stop_str_in_output
  std::int64_t truncate = 0;      // the last tokens of the prompt; 0: all
  std::int32_t priority = 0;      // of Request: larger goes first
  double timeout_s = 0.0;
};

// The `parameters` of TGI's, the native and Triton's bodies: temperature, top_k, top_p, do_sample, seed,
// repetition_penalty, max_new_tokens (20), stop, details, decoder_input_details, return_full_text, truncate,
// priority, timeout. watermark says nothing there either. Throws: ApiError for wrong values, and for
// typical_p, adapter_id and whatever would change the answer and is not there.
MindieParameters read_mindie_parameters(const Fields& parameters, const ServiceOptions& options);

// The fields of vLLM's body: max_tokens (16), stop, stop_token_ids, include_stop_str_in_output, ignore_eos,
// skip_special_tokens, the penalties ... Throws: ApiError, for more than one answer too.
MindieParameters read_vllm_parameters(const Fields& body, const ServiceOptions& options);

}  // namespace latent8
