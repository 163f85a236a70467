#pragma once
// An HTTP/1.1 server on one thread: requests in, whole or streamed replies out, from any thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace latent8 {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // "GET"
  std::string path;     // percent-decoded, without the query: "/v1/models"
  std::string query;    // as it came, without '?'
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string peer;          // address and port of the client
  std::size_t listener = 0;  // position in HttpOptions::listeners

  // The first header of this name (lower case); "" without one.
  std::string_view header(std::string_view name) const;
};

struct HttpReply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpHeaders headers;  // beside content-type, content-length, date and connection
};

// One request and its reply. Thread-safety: all methods may be called from any thread; the reply is one
// reply(), or begin(), any number of write() and one end(). Calls after the end, or after the client has
// left, do nothing.
class Exchange {
 public:
  virtual ~Exchange() = default;
  const HttpRequest& request() const { return request_; }

  virtual void reply(HttpReply reply) = 0;
  // A streamed reply: its head. `head.body` is its first part.
  virtual void begin(HttpReply head) = 0;
  // false: nobody reads any more, or so slowly that the bound of unsent bytes was passed, which ends the
  // connection.
  virtual bool write(std::string_view bytes) = 0;
  virtual void end() = 0;
  // Called once, on the network thread, if the client leaves before the end; at once if it has left already.
  virtual void on_abort(std::function<void()> callback) = 0;

 protected:
  explicit Exchange(HttpRequest request) : request_(std::move(request)) {}
  HttpRequest request_;
};

struct TlsFiles {
  std::string certificate;                    // PEM, the chain
  std::string key;                            // PEM
  std::string key_password;                   // "" where the key is not encrypted
  std::vector<std::string> client_ca_files;   // PEM; any: clients must show a certificate that one signed
  std::vector<std::string> client_crl_files;  // PEM; certificates of clients that are refused
};

struct HttpListener {
  std::string host = "127.0.0.1";  // an address or a name; the first address that it has is bound
  std::uint16_t port = 8000;       // 0: any free one
  std::optional<TlsFiles> tls;
};

struct HttpOptions {
  std::vector<HttpListener> listeners{HttpListener{}};  // at least one
  std::size_t max_header_bytes = std::size_t{64} << 10;
  std::size_t max_body_bytes = std::size_t{32} << 20;
  std::size_t max_unsent_bytes = std::size_t{4} << 20;  // of one streamed reply
  std::size_t max_connections = 16384;                  // more are told 503
  double idle_s = 75.0;                                 // of a connection between two requests
  double request_s = 30.0;  // from a request's first byte to the end of its header; and for each MiB of body
  double write_s = 30.0;    // without progress of a write
};

// Thread-safety: all methods may be called from any thread. The destructor ends all connections.
class HttpServer {
 public:
  // Called on the network thread for every request: must not block. A handler that throws ends in status 500.
  using Handler = std::function<void(std::shared_ptr<Exchange>)>;
  // Called on the network thread when a header has come, before its body is read: a reply refuses it.
  using Guard = std::function<std::optional<HttpReply>(const HttpRequest&)>;

  // Binds and starts. Throws: Error{kUnavailable} naming host and port that cannot be bound; Error{kNotFound
  // | kInvalidArgument} naming a TLS file.
  HttpServer(const HttpOptions& options, Handler handler, Guard guard = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::uint16_t port(std::size_t listener = 0) const;
  std::size_t connections() const;
  std::size_t open_exchanges() const;
  // Reads certificates and keys again; connections that exist keep theirs. Throws: as the constructor; the
  // old ones stay in use then.
  void reload_tls();
  // No new connections; those without a request under way are closed, others after their reply.
  void drain();

 private:
  class Listener;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace latent8
