#include "server/http_exchange.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace latent8 {

void OpenExchange::reply(HttpReply reply) {
  const std::lock_guard lock(mutex_);
  if (head_ || left_) return;
  head_ = std::move(reply);
  whole_ = ended_ = true;
  notify();
}

void OpenExchange::begin(HttpReply head) {
  const std::lock_guard lock(mutex_);
  if (head_ || left_) return;
  unsent_ = std::exchange(head.body, {});
  head_ = std::move(head);
  notify();
}

bool OpenExchange::write(std::string_view bytes) {
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

void OpenExchange::end() {
  const std::lock_guard lock(mutex_);
  ended_ = true;
  notify();
}

void OpenExchange::on_abort(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!left_) {
      if (!ended_) on_abort_ = std::move(callback);
      return;
    }
  }
  callback();
}

OpenExchange::Next OpenExchange::take() {
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

void OpenExchange::leave() {
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

void OpenExchange::done() {
  const std::lock_guard lock(mutex_);
  left_ = true;
  on_abort_ = {};
}

// Wakes the connection, once until it looks. Called with the mutex held.
void OpenExchange::notify() {
  if (std::exchange(notified_, true)) return;
  boost::asio::post(executor_, [wake = wake_] { wake->cancel(); });
}

}  // namespace latent8
