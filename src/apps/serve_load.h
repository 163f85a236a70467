#pragma once
// Load for a server, or for an engine alone, and what its clients saw.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "latent8/engine.h"

namespace latent8 {

// Asks for an answer of `output` tokens to a prompt and waits for its end; on_token is called at each token
// of it, on any thread. Throws: Error if it ends otherwise.
using AskForTokens = std::function<void(const std::vector<std::int32_t>& prompt, std::int64_t output,
                                        const std::function<void()>& on_token)>;
AskForTokens ask_engine(Engine& engine);
AskForTokens ask_server(const std::string& url);

struct ServeLoad {
  std::int64_t clients = 32;   // each has one request under way
  std::int64_t requests = 64;  // of all clients together
  std::int64_t prompt_tokens = 128;
  std::int64_t output_tokens = 64;
  std::int64_t vocab_size = 4096;  // prompts are random ids below it
};

// Times in seconds.
struct ServeTimes {
  std::vector<double> first_token;  // of each request
  std::vector<double> per_token;    // of each request: mean over its tokens after the first
  std::vector<double> gaps;         // between two tokens of one answer
  std::int64_t tokens = 0;
  double wall_s = 0.0;
  void add(const ServeTimes& other);
  double tokens_per_s() const { return wall_s > 0.0 ? static_cast<double>(tokens) / wall_s : 0.0; }
};

ServeTimes run_load(const AskForTokens& ask, const ServeLoad& options);
// All prompts at once, each with an answer of `output` tokens. Tokens and wall_s count from when every answer
// has begun: what is left is decoding.
ServeTimes run_prompts(const AskForTokens& ask, std::span<const std::vector<std::int32_t>> prompts,
                       std::int64_t output);

// `streams` answers go on while nothing else comes, and then while a prompt of long_prompt tokens does.
struct StreamGaps {
  std::vector<double> alone, beside;  // gaps between tokens in either time
  double long_first_token_s = 0.0;
};
StreamGaps run_streams(const AskForTokens& ask, const ServeLoad& options, std::int64_t long_prompt,
                       double alone_s);

// The p-th percentile (nearest rank) of values; 0 if there is none. p in [0, 100].
double percentile(std::vector<double> values, double p);

}  // namespace latent8
