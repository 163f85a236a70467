#pragma once
// What one rendering may do, since a template comes with a checkpoint that somebody else made.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace latent8::jinja {

struct Limits {
  std::uint64_t steps = 20'000'000;                // some seconds
  std::uint64_t bytes = std::uint64_t{256} << 20;  // of values alive at once, the output included
};

// The steps and bytes of one rendering. It is found through the thread and not through parameters, so that
// whatever allocates a value or text is counted (Counted below), and no operation can forget to ask.
class Budget {
 public:
  // From here on the budget of this thread. Budgets of a thread nest.
  explicit Budget(const Limits& limits) : limits_(limits), outer_(current_) { current_ = this; }
  ~Budget() { current_ = outer_; }
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  // nullptr outside of renderings: what a parser allocates is bounded by the template's size.
  static Budget* current() { return current_; }

  // Throws: Error{kInvalidArgument} above the limit.
  void step(std::uint64_t units) {
    used_ += units;
    if (used_ > limits_.steps) refuse_work();
  }
  // Call before allocating. Throws: Error{kInvalidArgument} above the limit.
  void allocate(std::uint64_t bytes) {
    if (bytes > limits_.bytes - live_) refuse_memory();
    step(1 + bytes / 64);
    live_ += bytes;
  }
  void release(std::uint64_t bytes) noexcept { live_ -= bytes < live_ ? bytes : live_; }

  // One level of bodies, expressions, macro calls and filters of filters; bounds the stack.
  class Nesting {
   public:
    Nesting();
    ~Nesting() { --budget_->depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Budget* budget_;
  };

 private:
  [[noreturn]] void refuse_work() const;
  [[noreturn]] void refuse_memory() const;

  static thread_local Budget* current_;
  Limits limits_;
  Budget* outer_;
  std::uint64_t used_ = 0;
  std::uint64_t live_ = 0;
  int depth_ = 0;
};

// Work of `units` that allocates nothing: one unit per item that is looked at or per 16 bytes of text.
inline void step(std::uint64_t units = 1) {
  if (Budget* budget = Budget::current()) budget->step(units);
}

// Allocates from the thread's budget.
template <class T>
struct Counted {
  using value_type = T;
  using is_always_equal = std::true_type;

  Counted() = default;
  template <class U>
  Counted(const Counted<U>&) {}

  T* allocate(std::size_t count) {
    if (Budget* budget = Budget::current()) {
      constexpr std::size_t kMost = SIZE_MAX / sizeof(T);
      budget->allocate(count > kMost ? SIZE_MAX : count * sizeof(T));
    }
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* at, std::size_t count) noexcept {
    std::allocator<T>().deallocate(at, count);
    if (Budget* budget = Budget::current()) budget->release(count * sizeof(T));
  }
  friend bool operator==(const Counted&, const Counted&) { return true; }
};

using String = std::basic_string<char, std::char_traits<char>, Counted<char>>;
using CodePoints = std::basic_string<char32_t, std::char_traits<char32_t>, Counted<char32_t>>;
template <class T>
using Vector = std::vector<T, Counted<T>>;

// container.reserve(count) that refuses a count beyond all memory like any other that is too large.
template <class Container>
void reserve(Container& container, std::size_t count) {
  container.reserve(count < container.max_size() ? count : container.max_size());
}

template <class T, class... Args>
std::shared_ptr<T> make_counted(Args&&... args) {
  return std::allocate_shared<T>(Counted<T>(), std::forward<Args>(args)...);
}

}  // namespace latent8::jinja
