#include "server/http.h"

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "server/http_connection.h"
#include "server/http_tls.h"

namespace latent8 {
namespace {

namespace ssl = boost::asio::ssl;
using Plain = beast::tcp_stream;
using Tls = beast::ssl_stream<beast::tcp_stream>;

constexpr auto kAcceptAgain = std::chrono::milliseconds(100);  // when descriptors have run out

std::string text_of(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", endpoint.address().to_string(), endpoint.port())
                                    : fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

}  // namespace

// One address that is listened on.
class HttpServer::Listener {
 public:
  Listener(asio::io_context& context, const HttpListener& options) : options_(options), acceptor_(context) {
    reload_tls();
    try {
      tcp::resolver resolver(context);
      const tcp::endpoint endpoint =
          resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive)->endpoint();
      acceptor_.open(endpoint.protocol());
      acceptor_.set_option(asio::socket_base::reuse_address(true));
      acceptor_.bind(endpoint);
      acceptor_.listen(asio::socket_base::max_listen_connections);
      port_ = acceptor_.local_endpoint().port();
    } catch (const boost::system::system_error& error) {
      throw_error(ErrorCode::kUnavailable, "cannot listen on {}:{}: {}; choose another --host or --port",
                  options.host, options.port, error.code().message());
    }
  }

  tcp::acceptor& acceptor() { return acceptor_; }
  std::uint16_t port() const { return port_; }
  void reload_tls() {
    if (!options_.tls) return;
    auto tls = make_tls(*options_.tls);
    const std::lock_guard lock(mutex_);
    tls_ = std::move(tls);
  }
  // nullptr: plain HTTP.
  std::shared_ptr<ssl::context> tls() const {
    const std::lock_guard lock(mutex_);
    return tls_;
  }

 private:
  HttpListener options_;
  tcp::acceptor acceptor_;
  std::uint16_t port_ = 0;
  mutable std::mutex mutex_;
  std::shared_ptr<ssl::context> tls_;  // guarded by mutex_
};

class HttpServer::Impl {
 public:
  Impl(const HttpOptions& options, Handler handler, Guard guard) : shared_(std::make_shared<HttpShared>()) {
    shared_->options = options;
    shared_->handler = std::move(handler);
    shared_->guard = std::move(guard);
    for (const HttpListener& listener : options.listeners)
      listeners_.push_back(std::make_unique<Listener>(shared_->context, listener));
    for (std::size_t i = 0; i < listeners_.size(); ++i)
      asio::co_spawn(shared_->context, accept(i), asio::detached);
    thread_ = std::thread([this] { shared_->context.run(); });
  }
  // Closed sockets end every coroutine, and with the last one run() returns.
  ~Impl() {
    shared_->draining = true;
    asio::post(shared_->context, [this] {
      close_listeners();
      beast::error_code ignored;
      for (tcp::socket* socket : shared_->sockets) socket->close(ignored);
    });
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::uint16_t port(std::size_t listener) const { return listeners_.at(listener)->port(); }
  const HttpShared& shared() const { return *shared_; }

  void reload_tls() {
    for (const auto& listener : listeners_) listener->reload_tls();
  }

  void drain() {
    shared_->draining = true;
    asio::post(shared_->context, [this] {
      close_listeners();
      beast::error_code ignored;
      for (tcp::socket* socket : shared_->idle) socket->cancel(ignored);
    });
  }

 private:
  void close_listeners() {
    beast::error_code ignored;
    for (const auto& listener : listeners_) listener->acceptor().close(ignored);
  }

  asio::awaitable<void> accept(std::size_t listener) {
    asio::steady_timer pause(shared_->context);
    tcp::acceptor& acceptor = listeners_[listener]->acceptor();
    while (acceptor.is_open()) {
      beast::error_code error;
      tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted || !acceptor.is_open()) break;
      if (error) {  // no descriptors, or the client has gone already
        pause.expires_after(kAcceptAgain);
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      asio::co_spawn(shared_->context, connection(std::move(socket), listener), asio::detached);
    }
  }

  asio::awaitable<void> connection(tcp::socket socket, std::size_t listener) {
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
      if (const std::shared_ptr<ssl::context> tls = listeners_[listener]->tls()) {
        Tls stream(beast::tcp_stream(std::move(socket)), *tls);
        beast::get_lowest_layer(stream).expires_after(milliseconds(shared_->options.request_s));
        co_await stream.async_handshake(ssl::stream_base::server,
                                        asio::redirect_error(asio::use_awaitable, error));
        if (error) co_return;
        co_await Connection<Tls>(stream, shared_, text_of(peer), listener).serve();
        beast::get_lowest_layer(stream).expires_after(std::chrono::seconds(1));
        co_await stream.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
      } else {
        Plain stream(std::move(socket));
        co_await Connection<Plain>(stream, shared_, text_of(peer), listener).serve();
        stream.socket().shutdown(tcp::socket::shutdown_send, error);
      }
    } catch (const std::exception& failure) {
      log_error(fmt::format("http: {}: {}", text_of(peer), failure.what()));
    }
  }

  std::shared_ptr<HttpShared> shared_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::thread thread_;
};

HttpServer::HttpServer(const HttpOptions& options, Handler handler, Guard guard)
    : impl_(std::make_unique<Impl>(options, std::move(handler), std::move(guard))) {}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port(std::size_t listener) const { return impl_->port(listener); }
std::size_t HttpServer::connections() const { return impl_->shared().connections; }
std::size_t HttpServer::open_exchanges() const { return impl_->shared().exchanges; }
void HttpServer::reload_tls() { impl_->reload_tls(); }
void HttpServer::drain() { impl_->drain(); }

}  // namespace latent8
