#pragma once
// An HTTP/1.1 client for one request at a time, over http or https.

#include <atomic>
#include <functional>
#include <string>
#include <string_view>

#include "server/http.h"

namespace latent8 {

struct HttpUrl {
  bool tls = false;
  std::string host, port;
  std::string path;  // without a slash at its end: "" or "/v1"

  // "http://HOST[:PORT][/PATH]" or https. Throws: Error{kInvalidArgument} naming the text.
  static HttpUrl parse(std::string_view text);
  std::string text() const;
  std::string authority() const;  // HOST:PORT
};

struct HttpCall {
  std::string method = "GET";
  std::string path;     // after the URL's own: "/v1/models"
  HttpHeaders headers;  // beside host, content-length and user-agent
  std::string body;
  // The parts of a reply with status 200, as they come; what it returns is whether more is wanted. Without it
  // the reply's body has all.
  std::function<bool(std::string_view)> on_body;
  const std::atomic<bool>* interrupted =
      nullptr;  // ends the call when it becomes true (a signal handler may set it)
};

struct HttpClientOptions {
  HttpUrl url;
  std::string ca_file;     // PEM; "": the certificates that this system trusts
  double connect_s = 30;   // for name, connection and handshake
  double silence_s = 600;  // without a byte of the reply
};

// Makes the call on a connection of its own and waits for the end of the reply, of the wish for more, or an
// interruption; what has come by then is returned, with status 0 if that is nothing.
// Throws: Error{kUnavailable} naming the URL if it cannot be reached or ends too early, Error{kCorrupt} for a
// reply that is no HTTP or larger than 64 MiB.
HttpReply http_call(const HttpClientOptions& server, const HttpCall& call);

}  // namespace latent8
