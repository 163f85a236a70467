#pragma once
// A model behind a server with OpenAI's API: latent8 serve, or another.

#include <atomic>
#include <memory>
#include <string>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "frontend/text_stream.h"
#include "server/http_client.h"

namespace latent8 {

struct RemoteFlags {
  std::string url, api_key, ca_file;
};

// --url, --api-key, --ca-file.
void add_remote_flags(CLI::App& app, RemoteFlags& flags);

class RemoteModel {
 public:
  // variables: for the chat template. json_schema: of the answers, "": any. Throws: Error{kInvalidArgument}
  // for a URL that is none.
  RemoteModel(const RemoteFlags& flags, const SamplingFlags& sampling, const OrderedJson& variables,
              const std::string& json_schema);

  // also, interrupted: as Frontend::generate. The answer has no token ids. Throws: as http_call(); Error with
  // the server's message if it refuses.
  GeneratedText generate(const OrderedJson& messages, TextSink* also, const std::atomic<bool>& interrupted);

 private:
  HttpClientOptions server_;
  std::string api_key_;
  std::shared_ptr<const OrderedJson> body_;  // of a request, without messages
};

}  // namespace latent8
