#pragma once
// Templates in the part of the Jinja2 language that chat templates use.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/jinja/budget.h"

namespace latent8 {

// A compiled template. Evaluates as Jinja2 does in the sandbox of Hugging Face `transformers`: trim_blocks,
// lstrip_blocks, loop controls, the functions range, namespace, dict, raise_exception and strftime_now, its
// tojson, and values that cannot be changed. Nesting, work and memory of a rendering are bounded, since
// templates come with checkpoints. Thread-safety: immutable after construction.
class JinjaTemplate {
 public:
  // name stands for the template in messages.
  // Throws: Error{kInvalidArgument} with name and line for a syntax error.
  JinjaTemplate(std::string_view source, std::string_view name);
  ~JinjaTemplate();
  JinjaTemplate(JinjaTemplate&&) noexcept;
  JinjaTemplate& operator=(JinjaTemplate&&) noexcept;

  // variables: an object; its members are the template's variables.
  // Throws: Error{kInvalidArgument} with the line where the template failed, or with the message that it gave
  // to raise_exception; Error{kUnsupported} with the line of a statement, filter, test, method or function
  // that is not supported and was reached.
  std::string render(const nlohmann::ordered_json& variables, const jinja::Limits& limits = {}) const;

  // Whether the template reads a variable of this name, which it need not set itself.
  bool mentions(std::string_view variable) const;
  // Statements, filters and tests that would fail if they were reached: "line 3: the filter 'x' is not
  // known".
  const std::vector<std::string>& notes() const;

 private:
  struct Program;
  std::unique_ptr<const Program> program_;
};

}  // namespace latent8
