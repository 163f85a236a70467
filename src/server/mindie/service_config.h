#pragma once
// The reference's service config (MindIE's config.json), and what it comes to here.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_config.h"
#include "server/http.h"
#include "server/routes.h"
#include "server/service.h"

namespace latent8 {

// Every member is honoured; the rest of the file is in `notes`.
struct ServiceConfig {
  std::vector<HttpListener> listeners;  // one per address and port
  std::vector<Planes> planes;           // of each listener
  std::filesystem::path model;
  std::string model_name;
  bool enable_nz = true;
  Speculative speculative = Speculative::kAuto;  // kMtp where plugin_params say so
  int num_speculative_tokens = 0;                // as they say
  std::int64_t max_seq_len = 0, max_input_tokens = 0, max_output_tokens = 0;
  Truncation truncation = Truncation::kRefuse;
  std::int64_t block_size = 128, max_batch_size = 0, max_n = 0;
  std::int64_t max_prefill_tokens = 0;  // of one step
  std::int64_t cache_bytes = 0;         // 0: from the free memory
  std::int64_t max_requests = 0;        // under way and waiting; more are refused
  std::size_t max_body_bytes = 0;
  double token_timeout_s = 0.0, e2e_timeout_s = 0.0;
  int text_threads = 0;
  bool full_text = false;  // streams of the reference's own routes repeat all text so far

  std::vector<std::string> notes;    // start-up lines: which keys have no effect, and why
  std::vector<std::string> changes;  // what --adapt made of values that cannot be had
};

// Relative paths start at the folder of the file, or above it if its name is conf: the reference's own
// layout. The environment's MIES_CONTAINER_IP and MIES_CONTAINER_MANAGEMENT_IP go before the file's
// addresses, as there. adapt: values that one process on this machine cannot have are changed, not refused.
// Throws: Error{kCorrupt} for what is no JSON; {kInvalidArgument} listing every wrong value, and every one
// that cannot be had.
ServiceConfig read_service_config(const std::filesystem::path& file, bool adapt);
// What the model adds: maxSeqLen within its context. Throws: Error{kInvalidArgument}, or changes it.
void fit_to_model(ServiceConfig& config, const ContextLimit& limit, bool adapt);
// Likewise plugin_type mtp, which needs an MTP layer.
void fit_drafts_to_model(ServiceConfig& config, bool has_mtp, bool adapt);
ServiceConfig parse_service_config(std::string_view text, const std::filesystem::path& file, bool adapt);

}  // namespace latent8
