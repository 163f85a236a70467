#pragma once
// A pattern in Oniguruma's syntax and the place that is read.

#include <string>
#include <string_view>

namespace latent8 {

class OnigScanner {
 public:
  // Throws: Error{kCorrupt} if pattern is not UTF-8. Ownership: refers to both texts.
  OnigScanner(std::string_view pattern, std::string_view where);

  bool done() const { return at_ == pattern_.size(); }
  std::string_view rest() const { return pattern_.substr(at_); }
  // REQUIRES: !done().
  char front() const { return pattern_[at_]; }
  // The byte `offset` bytes on; 0 beyond the end.
  char peek(std::size_t offset) const {
    return at_ + offset < pattern_.size() ? pattern_[at_ + offset] : '\0';
  }
  void next() { ++at_; }
  // Whether text stands here; steps over it if so.
  bool skip(std::string_view text);
  char32_t next_code_point();
  // Whether `(?<name>` or `(?'name'` stands here; steps over it if so.
  bool skip_named_group();

  // Throws: Error{kUnsupported} naming what stands here.
  [[noreturn]] void refuse(std::string_view what) const;
  // Throws: Error{kCorrupt}.
  [[noreturn]] void corrupt(std::string_view what) const;

 private:
  std::string_view pattern_;
  std::string_view where_;
  std::size_t at_ = 0;
};

}  // namespace latent8
