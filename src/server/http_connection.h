#pragma once
// One connection: requests one after the other. Private to http.cpp.

#include <poll.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "base/log.h"
#include "server/http_exchange.h"
#include "server/http_text.h"

namespace latent8 {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

// How often a connection looks whether its client is still there while a reply is being made.
inline constexpr auto kLook = std::chrono::milliseconds(50);
inline constexpr std::size_t kFirstRead = 4096;
inline constexpr std::size_t kTimedBody = std::size_t{1} << 20;  // bytes of a body that have request_s
inline constexpr double kLinger_s = 2.0;  // for a client that is refused while it sends

inline std::chrono::milliseconds milliseconds(double time_s) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(time_s * 1000.0));
}

class Counted {
 public:
  explicit Counted(std::atomic<std::size_t>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<std::size_t>& count_;
};

// Lets the server find a socket that waits.
class Registered {
 public:
  Registered(std::unordered_set<tcp::socket*>& all, tcp::socket& socket) : all_(all), socket_(&socket) {
    all_.insert(socket_);
  }
  ~Registered() { all_.erase(socket_); }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;

 private:
  std::unordered_set<tcp::socket*>& all_;
  tcp::socket* socket_;
};

// Whether the client has closed its side.
inline bool has_left(tcp::socket& socket) {
  pollfd fd{.fd = socket.native_handle(), .events = POLLRDHUP, .revents = 0};
  return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

template <class Stream>
class Connection {
 public:
  Connection(Stream& stream, std::shared_ptr<HttpShared> shared, std::string peer, std::size_t listener)
      : stream_(stream),
        shared_(std::move(shared)),
        peer_(std::move(peer)),
        listener_(listener),
        wake_(std::make_shared<asio::steady_timer>(stream.get_executor())) {}

  // Requests one after the other until either side wants no more.
  asio::awaitable<void> serve() {
    const Registered registered(shared_->sockets, socket());
    while (co_await serve_one()) {
    }
  }

 private:
  using Parser = http::request_parser<http::string_body>;
  const HttpOptions& options() const { return shared_->options; }
  tcp::socket& socket() { return beast::get_lowest_layer(stream_).socket(); }
  void limit(double time_s) { beast::get_lowest_layer(stream_).expires_after(milliseconds(time_s)); }

  asio::awaitable<bool> serve_one() {
    Parser parser;
    parser.header_limit(static_cast<std::uint32_t>(options().max_header_bytes));
    parser.body_limit(options().max_body_bytes);
    beast::error_code error;
    if (shared_->draining) co_return false;
    if (buffer_.size() == 0) co_await wait_for_request(error);
    if (!error) {
      limit(options().request_s);
      co_await http::async_read_header(stream_, buffer_, parser, token(error));
    }
    if (error) {
      if (const int status = status_of(error); status != 0) co_await refuse(status, error);
      co_return false;
    }
    HttpRequest request = to_request(parser);
    if (const std::optional<HttpRefusal> refusal = framing_refusal(request, parser.get().version() >= 11)) {
      co_await refuse(refusal->status, refusal->message);
      co_return false;
    }
    if (shared_->guard) {
      if (std::optional<HttpReply> reply = shared_->guard(request)) {
        co_await send_reply(std::move(*reply), /*keep=*/false, /*head_only=*/request.method == "HEAD");
        co_await linger();
        co_return false;
      }
    }
    co_await read_body(parser, error);
    if (error) {
      if (const int status = status_of(error); status != 0) co_await refuse(status, error);
      co_return false;
    }
    request.body = std::move(parser.get().body());
    const bool keep = parser.keep_alive() && !shared_->draining, http_1_1 = parser.get().version() >= 11;
    co_return co_await answer(std::move(request), keep, http_1_1);
  }

  // Until a byte of a request is there. drain() ends it.
  asio::awaitable<void> wait_for_request(beast::error_code& error) {
    limit(options().idle_s);
    const Registered idle(shared_->idle, socket());
    const std::size_t n = co_await stream_.async_read_some(buffer_.prepare(kFirstRead), token(error));
    buffer_.commit(n);
  }

  asio::awaitable<void> read_body(Parser& parser, beast::error_code& error) {
    if (parser.is_done()) co_return;
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      limit(options().write_s);
      static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
      co_await asio::async_write(stream_, asio::buffer(kContinue), token(error));
    }
    for (std::size_t timed = 0; !error && !parser.is_done();) {
      if (parser.get().body().size() >= timed) {
        limit(options().request_s);
        timed += kTimedBody;
      }
      co_await http::async_read_some(stream_, buffer_, parser, token(error));
    }
  }

  HttpRequest to_request(const Parser& parser) const {
    const auto& message = parser.get();
    HttpRequest request;
    request.method = std::string(message.method_string());
    split_target(std::string_view(message.target().data(), message.target().size()), request);
    for (const auto& field : message)
      request.headers.emplace_back(
          to_lower(std::string_view(field.name_string().data(), field.name_string().size())),
          std::string(field.value()));
    request.peer = peer_;
    request.listener = listener_;
    return request;
  }

  // The reply to one request. Returns whether another may follow.
  asio::awaitable<bool> answer(HttpRequest request, bool keep, bool http_1_1) {
    const bool head_only = request.method == "HEAD";
    const Counted counted(shared_->exchanges);
    auto exchange =
        std::make_shared<OpenExchange>(std::move(request), shared_, stream_.get_executor(), wake_);
    try {
      shared_->handler(exchange);
    } catch (const std::exception& error) {
      log_error(fmt::format("http: {}", error.what()));
      exchange->reply(
          {.status = 500, .content_type = "text/plain", .body = "internal error\n", .headers = {}});
    }
    bool streaming = false, fine = true;
    for (bool ended = false; fine && !ended;) {
      OpenExchange::Next next = exchange->take();
      if (next.overrun) {
        fine = false;
      } else if (next.nothing()) {
        fine = co_await wait_for_news();
      } else if (next.whole) {
        fine = co_await send_reply(std::move(*next.head), keep, head_only);
        ended = true;
      } else {
        std::string out;
        if (next.head) {
          streaming = true;
          out = stream_head(*next.head, keep && http_1_1, http_1_1);
        }
        if (!next.bytes.empty() && !head_only) out += http_1_1 ? chunk(next.bytes) : next.bytes;
        ended = next.ended;
        if (ended && streaming && http_1_1 && !head_only) out += kLastChunk;
        fine = co_await send(out);
      }
    }
    if (fine)
      exchange->done();
    else
      exchange->leave();
    co_return fine&& keep && (http_1_1 || !streaming);
  }

  // Until there is something to send, or a moment has passed. false: the client has left.
  asio::awaitable<bool> wait_for_news() {
    wake_->expires_after(kLook);
    beast::error_code cancelled;
    co_await wake_->async_wait(token(cancelled));
    co_return socket().is_open() && (cancelled || !has_left(socket()));
  }

  asio::awaitable<bool> send_reply(HttpReply reply, bool keep, bool head_only) {
    std::string out = whole_head(reply, keep);
    if (!head_only) out += reply.body;
    co_return co_await send(out);
  }

  asio::awaitable<bool> send(const std::string& bytes) {
    beast::error_code error;
    asio::const_buffer rest = asio::buffer(bytes);
    while (!error && rest.size() > 0) {
      limit(options().write_s);
      rest += co_await stream_.async_write_some(rest, token(error));
    }
    co_return !error;
  }

  // A request that is none.
  asio::awaitable<void> refuse(int status, const beast::error_code& error) {
    co_await refuse(status, status == 408 ? "the request did not come in time"
                                          : "no request that can be read: " + error.message());
  }
  asio::awaitable<void> refuse(int status, std::string message) {
    co_await send_reply({.status = status,
                         .content_type = "application/json",
                         .body = plain_error_json(status, message),
                         .headers = {}},
                        /*keep=*/false, /*head_only=*/false);
    co_await linger();
  }

  // Ends the reply and passes over what the client still sends: closing at once would reset the connection,
  // and with it the reply that it has not read.
  asio::awaitable<void> linger() {
    beast::error_code error;
    socket().shutdown(tcp::socket::shutdown_send, error);
    limit(kLinger_s);
    while (!error) {
      buffer_.clear();
      co_await stream_.async_read_some(buffer_.prepare(kFirstRead), token(error));
    }
  }

  // 0: the connection ended, nobody is there to be told.
  static int status_of(const beast::error_code& error) {
    if (error == http::error::body_limit) return 413;
    if (error == http::error::header_limit) return 431;
    if (error == http::error::end_of_stream || error == http::error::partial_message) return 0;
    if (error.category() == http::make_error_code(http::error::bad_method).category()) return 400;
    return 0;
  }

  static auto token(beast::error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

  Stream& stream_;
  std::shared_ptr<HttpShared> shared_;
  std::string peer_;
  std::size_t listener_;
  std::shared_ptr<asio::steady_timer> wake_;
  beast::flat_buffer buffer_;
};

}  // namespace latent8
