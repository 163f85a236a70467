#pragma once
// Replies under way, and what the connections of one server share. Private to http.cpp.

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "server/http.h"

namespace latent8 {

// What all connections of a server share.
struct HttpShared {
  HttpOptions options;
  HttpServer::Handler handler;
  HttpServer::Guard guard;
  std::atomic<std::size_t> connections{0}, exchanges{0};
  std::atomic<bool> draining{false};
  boost::asio::io_context context{1};  // here, since exchanges that outlive the server post to it
  // Of connections, and of those between two requests; network thread.
  std::unordered_set<boost::asio::ip::tcp::socket*> sockets, idle;
};

// The reply under way: what other threads have given and the connection has not sent.
class OpenExchange final : public Exchange {
 public:
  // wake: is cancelled when there is something to send.
  OpenExchange(HttpRequest request, std::shared_ptr<HttpShared> shared, boost::asio::any_io_executor executor,
               std::shared_ptr<boost::asio::steady_timer> wake)
      : Exchange(std::move(request)),
        shared_(std::move(shared)),
        executor_(std::move(executor)),
        wake_(std::move(wake)) {}

  void reply(HttpReply reply) override;
  void begin(HttpReply head) override;
  bool write(std::string_view bytes) override;
  void end() override;
  void on_abort(std::function<void()> callback) override;

  // What there is to send. Network thread.
  struct Next {
    std::optional<HttpReply> head;
    bool whole = false, ended = false, overrun = false;
    std::string bytes;
    bool nothing() const { return !head && !ended && !overrun && bytes.empty(); }
  };
  Next take();
  void leave();  // the connection is gone
  void done();   // everything is sent

 private:
  void notify();

  std::shared_ptr<HttpShared> shared_;
  boost::asio::any_io_executor executor_;
  std::shared_ptr<boost::asio::steady_timer> wake_;
  std::mutex mutex_;
  // All below are guarded by mutex_.
  std::optional<HttpReply> head_;
  std::string unsent_;
  std::function<void()> on_abort_;
  bool head_taken_ = false, whole_ = false, ended_ = false, overrun_ = false, left_ = false,
       notified_ = false;
};

}  // namespace latent8
