#pragma once
// The page at `/`, whose files (server/page/) are part of the program.

#include <span>
#include <string>
#include <string_view>

#include "server/http.h"

namespace latent8 {

struct EmbeddedFile {
  std::string_view name, bytes;
};
std::span<const EmbeddedFile> page_files();

// Where the page has a file: "/" is index.html, "/page/NAME" any other.
std::string page_path(const EmbeddedFile& file);

// The file, or 304 for a client that has it already. Nothing of the page may come from elsewhere or be a
// script that is not one of these files.
HttpReply page_reply(const EmbeddedFile& file, const HttpRequest& request);

}  // namespace latent8
