#include "server/http_client.h"

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "latent8/version.h"
#include "server/http_text.h"

namespace latent8 {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using asio::use_awaitable;
using asio::ip::tcp;

constexpr std::size_t kMaxBody = std::size_t{64} << 20;
constexpr auto kLook = std::chrono::milliseconds(50);  // how often an interruption is looked for

std::chrono::milliseconds milliseconds(double time_s) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(time_s * 1000.0));
}

// One call under way. What runs are coroutines on the caller's thread.
class ClientCall {
 public:
  ClientCall(const HttpClientOptions& server, const HttpCall& call) : server_(server), call_(call) {}

  HttpReply run() {
    asio::co_spawn(context_, work(), [this](std::exception_ptr error) {
      failure_ = std::move(error);
      context_.stop();
    });
    if (call_.interrupted != nullptr) asio::co_spawn(context_, watch(), asio::detached);
    context_.run();
    if (!failure_ || is_interrupted()) return std::move(reply_);
    try {
      std::rethrow_exception(failure_);
    } catch (const boost::system::system_error& error) {
      const bool no_http =
          error.code().category() == http::make_error_code(http::error::bad_method).category() &&
          error.code() != http::error::end_of_stream && error.code() != http::error::partial_message;
      throw_error(no_http ? ErrorCode::kCorrupt : ErrorCode::kUnavailable, "{}: {}", server_.url.text(),
                  error.code().message());
    }
  }

 private:
  bool is_interrupted() const { return call_.interrupted != nullptr && *call_.interrupted; }

  asio::awaitable<void> watch() {
    asio::steady_timer timer(context_);
    while (!*call_.interrupted) {
      timer.expires_after(kLook);
      co_await timer.async_wait(use_awaitable);
    }
    context_.stop();
  }

  asio::awaitable<void> work() {
    tcp::resolver resolver(context_);
    const auto addresses = co_await resolver.async_resolve(server_.url.host, server_.url.port, use_awaitable);
    beast::tcp_stream plain(context_);
    plain.expires_after(milliseconds(server_.connect_s));
    co_await plain.async_connect(addresses, use_awaitable);
    if (!server_.url.tls) {
      co_await exchange(plain);
      co_return;
    }
    ssl::context tls = tls_context();
    beast::ssl_stream<beast::tcp_stream> stream(std::move(plain), tls);
    SSL_set_tlsext_host_name(stream.native_handle(), server_.url.host.c_str());
    stream.set_verify_callback(ssl::host_name_verification(server_.url.host));
    co_await stream.async_handshake(ssl::stream_base::client, use_awaitable);
    co_await exchange(stream);
  }

  ssl::context tls_context() const {
    ssl::context tls(ssl::context::tls_client);
    tls.set_verify_mode(ssl::verify_peer);
    boost::system::error_code error;
    if (server_.ca_file.empty())
      tls.set_default_verify_paths(error);
    else
      tls.load_verify_file(server_.ca_file, error);
    if (error)
      throw_error(ErrorCode::kInvalidArgument, "'{}': certificates in PEM expected, got: {}", server_.ca_file,
                  error.message());
    return tls;
  }

  template <class Stream>
  asio::awaitable<void> exchange(Stream& stream) {
    const auto limit = [&] {
      beast::get_lowest_layer(stream).expires_after(milliseconds(server_.silence_s));
    };
    limit();
    co_await http::async_write(stream, request(), use_awaitable);
    http::response_parser<http::string_body> parser;
    parser.body_limit(boost::none);
    beast::flat_buffer buffer;
    co_await http::async_read_header(stream, buffer, parser, use_awaitable);
    take_head(parser.get());
    bool wanted = take_body(parser.get().body());
    while (wanted && !parser.is_done()) {
      limit();
      co_await http::async_read_some(stream, buffer, parser, use_awaitable);
      wanted = take_body(parser.get().body());
    }
  }

  http::request<http::string_body> request() const {
    http::request<http::string_body> request;
    request.method_string(call_.method);
    request.target(server_.url.path + call_.path);
    request.version(11);
    request.set(http::field::host, server_.url.authority());
    request.set(http::field::user_agent, fmt::format("latent8/{}", kVersion));
    request.set(http::field::connection, "close");
    for (const auto& [name, value] : call_.headers) request.set(name, value);
    request.body() = call_.body;
    request.prepare_payload();
    return request;
  }

  void take_head(const http::response<http::string_body>& head) {
    reply_.status = static_cast<int>(head.result_int());
    reply_.content_type = std::string(head[http::field::content_type]);
    for (const auto& field : head)
      reply_.headers.emplace_back(to_lower({field.name_string().data(), field.name_string().size()}),
                                  std::string(field.value()));
  }

  // Whether more is wanted.
  bool take_body(std::string& body) {
    const std::string part = std::exchange(body, {});
    if (part.empty()) return true;
    if (reply_.status == 200 && call_.on_body) return call_.on_body(part);
    if (reply_.body.size() + part.size() > kMaxBody)
      throw_error(ErrorCode::kCorrupt, "{}: a reply of at most {} bytes expected", server_.url.text(),
                  kMaxBody);
    reply_.body += part;
    return true;
  }

  const HttpClientOptions& server_;
  const HttpCall& call_;
  HttpReply reply_{.status = 0, .content_type = "", .body = "", .headers = {}};
  std::exception_ptr failure_;
  asio::io_context context_{1};
};

}  // namespace

HttpUrl HttpUrl::parse(std::string_view text) {
  HttpUrl url;
  std::string_view rest = text;
  const auto refuse = [&] {
    throw_error(ErrorCode::kInvalidArgument, "'{}': http://HOST[:PORT][/PATH] or https expected", text);
  };
  url.tls = rest.starts_with("https://");
  if (!url.tls && !rest.starts_with("http://")) refuse();
  rest.remove_prefix(rest.find("//") + 2);
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  url.path = rest.substr(slash);
  while (url.path.ends_with('/')) url.path.pop_back();
  rest = rest.substr(0, slash);
  const std::size_t bracket = rest.rfind(']');  // of an IPv6 address
  const std::size_t colon = rest.find(':', bracket == std::string_view::npos ? 0 : bracket);
  url.host = rest.substr(0, colon);
  url.port = colon == std::string_view::npos ? (url.tls ? "443" : "80") : std::string(rest.substr(colon + 1));
  if (url.host.starts_with('[') && url.host.ends_with(']'))
    url.host = url.host.substr(1, url.host.size() - 2);
  const bool is_port = !url.port.empty() && url.port.size() <= 5 &&
                       url.port.find_first_not_of("0123456789") == std::string::npos;
  const bool is_plain = text.find_first_of(" \t\r\n@?#") == std::string_view::npos;
  if (url.host.empty() || !is_port || !is_plain) refuse();
  return url;
}

std::string HttpUrl::authority() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format("{}:{}", is_v6 ? fmt::format("[{}]", host) : host, port);
}

std::string HttpUrl::text() const {
  return fmt::format("{}://{}{}", tls ? "https" : "http", authority(), path);
}

HttpReply http_call(const HttpClientOptions& server, const HttpCall& call) {
  return ClientCall(server, call).run();
}

}  // namespace latent8
