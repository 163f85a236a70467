#include "server/http.h"

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "base/error.h"
#include "base/log.h"
#include "server/http_text.h"

namespace latent8 {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using Plain = beast::tcp_stream;
using Tls = beast::ssl_stream<beast::tcp_stream>;

// How often a connection looks whether its client is still there while a reply is being made.
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr std::size_t kFirstRead = 4096;
constexpr auto kAcceptAgain = std::chrono::milliseconds(100);  // when descriptors have run out

std::chrono::milliseconds milliseconds(double time_s) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(time_s * 1000.0));
}

// What all connections of a server share.
struct Shared {
  HttpOptions options;
  HttpServer::Handler handler;
  HttpServer::Guard guard;
  std::atomic<std::size_t> connections{0}, exchanges{0};
  std::atomic<bool> draining{false};
  asio::io_context context{1};  // here, since exchanges that outlive the server post to it
  // Of connections, and of those between two requests; network thread.
  std::unordered_set<tcp::socket*> sockets, idle;
};

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

// The reply under way: what other threads have given and the connection has not sent.
class OpenExchange final : public Exchange {
 public:
  OpenExchange(HttpRequest request, std::shared_ptr<Shared> shared, asio::any_io_executor executor,
               std::shared_ptr<asio::steady_timer> wake)
      : Exchange(std::move(request)),
        shared_(std::move(shared)),
        executor_(std::move(executor)),
        wake_(std::move(wake)) {}

  void reply(HttpReply reply) override {
    const std::lock_guard lock(mutex_);
    if (head_ || left_) return;
    head_ = std::move(reply);
    whole_ = ended_ = true;
    notify();
  }
  void begin(HttpReply head) override {
    const std::lock_guard lock(mutex_);
    if (head_ || left_) return;
    unsent_ = std::exchange(head.body, {});
    head_ = std::move(head);
    notify();
  }
  bool write(std::string_view bytes) override {
    const std::lock_guard lock(mutex_);
    if (left_ || ended_) return false;
    if (unsent_.size() + bytes.size() > shared_->options.max_unsent_bytes) {
      overrun_ = true;
      notify();
      return false;
    }
    unsent_ += bytes;
    notify();
    return true;
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    notify();
  }
  void on_abort(std::function<void()> callback) override {
    {
      const std::lock_guard lock(mutex_);
      if (!left_) {
        if (!ended_) on_abort_ = std::move(callback);
        return;
      }
    }
    callback();
  }

  // What there is to send. Network thread.
  struct Next {
    std::optional<HttpReply> head;
    bool whole = false, ended = false, overrun = false;
    std::string bytes;
    bool nothing() const { return !head && !ended && !overrun && bytes.empty(); }
  };
  Next take() {
    const std::lock_guard lock(mutex_);
    notified_ = false;
    Next next{.head = {}, .whole = whole_, .ended = ended_, .overrun = overrun_, .bytes = std::move(unsent_)};
    unsent_.clear();
    if (head_ && !head_taken_) {
      next.head = *head_;
      head_taken_ = true;
    }
    return next;
  }
  // The connection is gone.
  void leave() {
    std::function<void()> callback;
    {
      const std::lock_guard lock(mutex_);
      if (left_) return;
      left_ = true;
      unsent_.clear();
      callback = std::exchange(on_abort_, {});
    }
    if (callback) callback();
  }
  void done() {
    const std::lock_guard lock(mutex_);
    left_ = true;
    on_abort_ = {};
  }

 private:
  // Wakes the connection, once until it looks. Called with the mutex held.
  void notify() {
    if (std::exchange(notified_, true)) return;
    asio::post(executor_, [wake = wake_] { wake->cancel(); });
  }

  std::shared_ptr<Shared> shared_;
  asio::any_io_executor executor_;
  std::shared_ptr<asio::steady_timer> wake_;
  std::mutex mutex_;
  // All below are guarded by mutex_.
  std::optional<HttpReply> head_;
  std::string unsent_;
  std::function<void()> on_abort_;
  bool head_taken_ = false, whole_ = false, ended_ = false, overrun_ = false, left_ = false,
       notified_ = false;
};

// Whether the client has closed its side.
bool has_left(tcp::socket& socket) {
  pollfd fd{.fd = socket.native_handle(), .events = POLLRDHUP, .revents = 0};
  return poll(&fd, 1, 0) > 0 && (fd.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

template <class Stream>
class Connection {
 public:
  Connection(Stream& stream, std::shared_ptr<Shared> shared, std::string peer)
      : stream_(stream),
        shared_(std::move(shared)),
        peer_(std::move(peer)),
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
    if (shared_->guard) {
      if (std::optional<HttpReply> reply = shared_->guard(request)) {
        co_await send_reply(std::move(*reply), /*keep=*/false, /*head_only=*/request.method == "HEAD");
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
    while (!error && !parser.is_done()) {
      limit(options().request_s);
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
    const std::string message = status == 408 ? "the request did not come in time"
                                              : "no request that can be read: " + error.message();
    co_await send_reply({.status = status,
                         .content_type = "application/json",
                         .body = plain_error_json(status, message),
                         .headers = {}},
                        /*keep=*/false, /*head_only=*/false);
    beast::error_code ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
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
  std::shared_ptr<Shared> shared_;
  std::string peer_;
  std::shared_ptr<asio::steady_timer> wake_;
  beast::flat_buffer buffer_;
};

std::shared_ptr<ssl::context> make_tls(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  const auto check = [](const beast::error_code& error, const std::string& file, const char* what) {
    if (error)
      throw_error(ErrorCode::kInvalidArgument, "'{}': {} in PEM expected, got: {}", file, what,
                  error.message());
  };
  beast::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                       ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1);
  context->set_password_callback(
      [password = files.key_password](std::size_t, ssl::context::password_purpose) { return password; });
  context->use_certificate_chain_file(files.certificate, error);
  check(error, files.certificate, "a certificate chain");
  context->use_private_key_file(files.key, ssl::context::pem, error);
  check(error, files.key, "the certificate's key");
  if (!files.client_ca_file.empty()) {
    context->load_verify_file(files.client_ca_file, error);
    check(error, files.client_ca_file, "certificates of authorities");
    context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
  }
  return context;
}

std::string text_of(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
                                    : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, Handler handler, Guard guard)
      : shared_(std::make_shared<Shared>()), acceptor_(shared_->context) {
    shared_->options = options;
    shared_->handler = std::move(handler);
    shared_->guard = std::move(guard);
    if (options.tls) tls_ = make_tls(*options.tls);
    bind();
    asio::co_spawn(shared_->context, accept(), asio::detached);
    thread_ = std::thread([this] { shared_->context.run(); });
  }
  // Closed sockets end every coroutine, and with the last one run() returns.
  ~Impl() {
    shared_->draining = true;
    asio::post(shared_->context, [this] {
      beast::error_code ignored;
      acceptor_.close(ignored);
      for (tcp::socket* socket : shared_->sockets) socket->close(ignored);
    });
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::uint16_t port() const { return port_; }
  const Shared& shared() const { return *shared_; }

  void reload_tls() {
    if (!shared_->options.tls) return;
    auto tls = make_tls(*shared_->options.tls);
    const std::lock_guard lock(mutex_);
    tls_ = std::move(tls);
  }

  void drain() {
    shared_->draining = true;
    asio::post(shared_->context, [this] {
      beast::error_code ignored;
      acceptor_.close(ignored);
      for (tcp::socket* socket : shared_->idle) socket->cancel(ignored);
    });
  }

 private:
  void bind() {
    const HttpOptions& o = shared_->options;
    try {
      tcp::resolver resolver(shared_->context);
      const tcp::endpoint endpoint =
          resolver.resolve(o.host, std::to_string(o.port), tcp::resolver::passive)->endpoint();
      acceptor_.open(endpoint.protocol());
      acceptor_.set_option(asio::socket_base::reuse_address(true));
      acceptor_.bind(endpoint);
      acceptor_.listen(asio::socket_base::max_listen_connections);
      port_ = acceptor_.local_endpoint().port();
    } catch (const boost::system::system_error& error) {
      throw_error(ErrorCode::kUnavailable, "cannot listen on {}:{}: {}; choose another --host or --port",
                  o.host, o.port, error.code().message());
    }
  }

  asio::awaitable<void> accept() {
    asio::steady_timer pause(shared_->context);
    while (acceptor_.is_open()) {
      beast::error_code error;
      tcp::socket socket = co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted || !acceptor_.is_open()) break;
      if (error) {  // no descriptors, or the client has gone already
        pause.expires_after(kAcceptAgain);
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      asio::co_spawn(shared_->context, connection(std::move(socket)), asio::detached);
    }
  }

  asio::awaitable<void> connection(tcp::socket socket) {
    const Counted counted(shared_->connections);
    beast::error_code error;
    const tcp::endpoint peer = socket.remote_endpoint(error);
    if (error) co_return;
    socket.set_option(tcp::no_delay(true), error);
    try {
      if (shared_->connections > shared_->options.max_connections) {
        const std::string busy = whole_head(
            {.status = 503, .content_type = "text/plain", .body = "", .headers = {{"retry-after", "1"}}},
            false);
        co_await asio::async_write(socket, asio::buffer(busy),
                                   asio::redirect_error(asio::use_awaitable, error));
        co_return;
      }
      if (const std::shared_ptr<ssl::context> tls = tls_now()) {
        Tls stream(beast::tcp_stream(std::move(socket)), *tls);
        beast::get_lowest_layer(stream).expires_after(milliseconds(shared_->options.request_s));
        co_await stream.async_handshake(ssl::stream_base::server,
                                        asio::redirect_error(asio::use_awaitable, error));
        if (error) co_return;
        co_await Connection<Tls>(stream, shared_, text_of(peer)).serve();
        beast::get_lowest_layer(stream).expires_after(std::chrono::seconds(1));
        co_await stream.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
      } else {
        Plain stream(std::move(socket));
        co_await Connection<Plain>(stream, shared_, text_of(peer)).serve();
        stream.socket().shutdown(tcp::socket::shutdown_send, error);
      }
    } catch (const std::exception& failure) {
      log_error(fmt::format("http: {}: {}", text_of(peer), failure.what()));
    }
  }

  std::shared_ptr<ssl::context> tls_now() {
    const std::lock_guard lock(mutex_);
    return tls_;
  }

  std::shared_ptr<Shared> shared_;
  tcp::acceptor acceptor_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::shared_ptr<ssl::context> tls_;  // guarded by mutex_
  std::thread thread_;
};

HttpServer::HttpServer(const HttpOptions& options, Handler handler, Guard guard)
    : impl_(std::make_unique<Impl>(options, std::move(handler), std::move(guard))) {}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const { return impl_->port(); }
std::size_t HttpServer::connections() const { return impl_->shared().connections; }
std::size_t HttpServer::open_exchanges() const { return impl_->shared().exchanges; }
void HttpServer::reload_tls() { impl_->reload_tls(); }
void HttpServer::drain() { impl_->drain(); }

}  // namespace latent8
