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

namespace latent8 {
namespace {

namespace ssl = boost::asio::ssl;
using Plain = beast::tcp_stream;
using Tls = beast::ssl_stream<beast::tcp_stream>;

constexpr auto kAcceptAgain = std::chrono::milliseconds(100);  // when descriptors have run out

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
      : shared_(std::make_shared<HttpShared>()), acceptor_(shared_->context) {
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
  const HttpShared& shared() const { return *shared_; }

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

  std::shared_ptr<HttpShared> shared_;
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
